//! URLs of databases.

use std::{fmt, path::PathBuf, str::FromStr};

use super::server_url::ServerUrl;

/// Where bookings are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// In this process.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// On a server.
    Postgres(ServerUrl),
    /// In this project's Firestore.
    Firestore(String),
}

/// Where keys and their responses are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// Where the bookings are.
    Same,
    /// In this process.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// On a server.
    Postgres(ServerUrl),
    /// On a Redis server.
    Redis(RedisUrl),
    /// In this project's Firestore.
    Firestore(String),
}

/// The URL of a Redis server. It is displayed without the user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        const ACCEPTED: &str =
            "sqlite:PATH, postgres://HOST/DATABASE, firestore://PROJECT or memory:";
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(ServerUrl::new(url))),
            Some(("firestore", project)) => firestore_project(project).map(Self::Firestore),
            _ => Err(format!("expected {ACCEPTED}")),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "same, sqlite:PATH, postgres://HOST/DATABASE, redis://HOST, \
             firestore://PROJECT or memory:";
        match url.split_once(':') {
            None if url == "same" => Ok(Self::Same),
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(ServerUrl::new(url))),
            // The store reports other mistakes when it is opened, without repeating the URL.
            Some(("redis" | "rediss", _)) => Ok(Self::Redis(RedisUrl(url.into()))),
            Some(("firestore", project)) => firestore_project(project).map(Self::Firestore),
            _ => Err(format!("expected {ACCEPTED}")),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => formatter.write_str("memory:"),
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(formatter),
            Self::Firestore(project) => write!(formatter, "firestore://{project}"),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => formatter.write_str("same"),
            Self::Memory => formatter.write_str("memory:"),
            Self::Sqlite(path) => write!(formatter, "sqlite:{}", path.display()),
            Self::Postgres(url) => url.fmt(formatter),
            Self::Redis(url) => url.fmt(formatter),
            Self::Firestore(project) => write!(formatter, "firestore://{project}"),
        }
    }
}

impl RedisUrl {
    /// The URL with its secrets, for the client of Redis.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once(':').unwrap_or_default();
        // A password may contain any character; no host contains this one.
        let server = rest.rsplit_once('@').map_or_else(
            || rest.trim_start_matches('/'),
            |(_credentials, server)| server,
        );
        let server = server.split(['?', '#']).next().unwrap_or_default();
        write!(formatter, "{scheme}://{server}")
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisUrl({self})")
    }
}

/// SQLite uses an empty name and ":memory:" for temporary databases; use memory: instead.
fn sqlite_path(path: &str) -> Result<PathBuf, String> {
    match path {
        "" => Err("expected a path after sqlite:, such as sqlite:core-api.db".into()),
        ":memory:" => Err("write memory: for a database in memory".into()),
        _ => Ok(path.into()),
    }
}

fn firestore_project(rest: &str) -> Result<String, String> {
    let is_id = |project: &&str| {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-.:_".contains(letter);
        !project.is_empty() && project.chars().all(allowed)
    };
    rest.strip_prefix("//")
        .filter(is_id)
        .map(str::to_owned)
        .ok_or_else(|| {
            "expected the id of a Google Cloud project, such as firestore://my-project".into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_they_are_shown() {
        for url in [
            "memory:",
            "sqlite:a.db",
            "sqlite:/var/lib/core api.db",
            "postgres://db/bookings",
            "firestore://my-project",
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().to_string(), url);
            assert_eq!(url.parse::<StoreUrl>().unwrap().to_string(), url);
        }
        assert_eq!("same".parse::<StoreUrl>().unwrap(), StoreUrl::Same);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_with_a_list_of_those_that_can() {
        const ACCEPTED: &str =
            "expected sqlite:PATH, postgres://HOST/DATABASE, firestore://PROJECT or memory:";
        let cases = [
            ("firestore:project", "such as firestore://my-project"),
            ("firestore://", "such as firestore://my-project"),
            ("firestore://project/more", "such as firestore://my-project"),
            ("mysql://db", ACCEPTED),
            ("core-api.db", ACCEPTED),
            ("memory:more", ACCEPTED),
            ("same", ACCEPTED),
            ("sqlite:", "expected a path after sqlite:"),
            ("sqlite::memory:", "write memory:"),
        ];
        for (url, expected) in cases {
            let error = url.parse::<DatabaseUrl>().unwrap_err();
            assert!(error.contains(expected), "{url}: {error}");
        }
        let error = "mongodb://localhost".parse::<StoreUrl>().unwrap_err();
        assert!(
            error.contains("same, sqlite:PATH, postgres://HOST/DATABASE, redis://HOST, firestore://PROJECT or memory:"),
            "{error}"
        );
    }

    #[test]
    fn the_password_of_a_redis_server_is_not_shown() {
        let cases = [
            ("redis://localhost", "redis://localhost"),
            ("redis://localhost:6379/2", "redis://localhost:6379/2"),
            ("redis://:s3cret@localhost/", "redis://localhost/"),
            ("rediss://ann:s3cret@keys:6380", "rediss://keys:6380"),
            ("redis://:s3cret/s3cret?@s3cret#@keys", "redis://keys"),
        ];
        for (url, shown) in cases {
            let read: StoreUrl = url.parse().unwrap();
            assert_eq!(read.to_string(), shown);
            assert!(!format!("{read:?}").contains("s3cret"), "{read:?}");
            let StoreUrl::Redis(read) = read else {
                panic!("{read:?}");
            };
            assert_eq!(read.expose(), url);
        }
    }
}
