//! The options: each is a flag and an environment variable.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Parser, ValueEnum, builder::BoolishValueParser};

/// A booking service whose writes are safe to retry.
///
/// Send bookings to /bookings with an Idempotency-Key header of your own, such as a UUID, and send the same
/// request again if no answer arrives: it is carried out once, and every retry gets the first answer.
#[derive(Clone, Debug, Parser)]
#[command(name = "core-api", version)]
pub struct Config {
    /// The IP address and port to serve on; port 0 takes a free one.
    #[arg(long, env = "CORE_API_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3000", value_parser = address)]
    pub listen: SocketAddr,

    /// Where bookings are kept: sqlite:PATH, a file that is created if it is missing; firestore://PROJECT, the
    /// default database of a Google Cloud project, or of the emulator that FIRESTORE_EMULATOR_HOST names; or
    /// memory:, which forgets them when the service ends.
    #[arg(
        long,
        env = "CORE_API_DATABASE",
        value_name = "URL",
        default_value = "sqlite:core-api.db"
    )]
    pub database: DatabaseUrl,

    /// Where idempotency keys and their answers are kept: same, which is the database; sqlite:PATH, a file of
    /// its own; firestore://PROJECT; or memory:, which forgets them when the service ends.
    ///
    /// A request holds its key by a lease of 30 seconds, taken before the booking is written and renewed while
    /// the request runs, wherever the keys are. If the service is killed in between, retries are answered 409
    /// until the lease ends, and then run again.
    #[arg(
        long,
        env = "CORE_API_IDEMPOTENCY_STORE",
        value_name = "URL",
        default_value = "same"
    )]
    pub idempotency_store: StoreUrl,

    /// Lets clients order failures to test their retries: writes honour the headers X-Fault-Delay-Ms: N,
    /// X-Fault-Status: N and X-Fault-Panic: 1. Not for production.
    #[arg(long, env = "CORE_API_FAULT_INJECTION", value_parser = BoolishValueParser::new())]
    pub fault_injection: bool,

    /// How the log on standard error is written; without this, pretty on a terminal and json elsewhere.
    #[arg(long, env = "CORE_API_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// Where bookings are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// In this process.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// In this project's Firestore.
    Firestore(String),
}

/// Where keys and their answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// Where the bookings are.
    Same,
    /// In this process.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
    /// In this project's Firestore.
    Firestore(String),
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "sqlite:PATH, firestore://PROJECT or memory:";
        match url.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Err(not_yet("Postgres", ACCEPTED)),
            Some(("firestore", project)) => firestore_project(project).map(Self::Firestore),
            _ => Err(format!("expected {ACCEPTED}")),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "same, sqlite:PATH, firestore://PROJECT or memory:";
        match url.split_once(':') {
            None if url == "same" => Ok(Self::Same),
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) => sqlite_path(path).map(Self::Sqlite),
            Some(("postgres" | "postgresql", _)) => Err(not_yet("Postgres", ACCEPTED)),
            Some(("redis" | "rediss", _)) => Err(not_yet("Redis", ACCEPTED)),
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
            Self::Firestore(project) => write!(formatter, "firestore://{project}"),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:3000 or [::1]:3000".into()
    })
}

/// SQLite takes an empty name and ":memory:" for databases that vanish; whoever wants that says memory:.
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

fn not_yet(what: &str, accepted: &str) -> String {
    format!("{what} is not supported yet; expected {accepted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arguments_it_serves_locally_from_a_file() {
        let config = Config::try_parse_from(["core-api"]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:3000".parse().unwrap());
        assert_eq!(config.database, DatabaseUrl::Sqlite("core-api.db".into()));
        assert_eq!(config.idempotency_store, StoreUrl::Same);
        assert!(!config.fault_injection);
        assert_eq!(config.log_format, None);
    }

    #[test]
    fn urls_are_read_as_they_are_shown() {
        for url in [
            "memory:",
            "sqlite:a.db",
            "sqlite:/var/lib/core api.db",
            "firestore://my-project",
        ] {
            assert_eq!(url.parse::<DatabaseUrl>().unwrap().to_string(), url);
            assert_eq!(url.parse::<StoreUrl>().unwrap().to_string(), url);
        }
        assert_eq!("same".parse::<StoreUrl>().unwrap(), StoreUrl::Same);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_answered_with_those_that_can() {
        let cases = [
            ("postgres://db/bookings", "Postgres is not supported yet"),
            ("firestore:project", "such as firestore://my-project"),
            ("firestore://", "such as firestore://my-project"),
            ("firestore://project/more", "such as firestore://my-project"),
            (
                "mysql://db",
                "expected sqlite:PATH, firestore://PROJECT or memory:",
            ),
            (
                "core-api.db",
                "expected sqlite:PATH, firestore://PROJECT or memory:",
            ),
            (
                "memory:more",
                "expected sqlite:PATH, firestore://PROJECT or memory:",
            ),
            (
                "same",
                "expected sqlite:PATH, firestore://PROJECT or memory:",
            ),
            ("sqlite:", "expected a path after sqlite:"),
            ("sqlite::memory:", "write memory:"),
        ];
        for (url, expected) in cases {
            let error = url.parse::<DatabaseUrl>().unwrap_err();
            assert!(error.contains(expected), "{url}: {error}");
        }
        let error = "redis://localhost".parse::<StoreUrl>().unwrap_err();
        assert!(error.contains("Redis is not supported yet"), "{error}");
        assert!(
            error.contains("same, sqlite:PATH, firestore://PROJECT or memory:"),
            "{error}"
        );
    }
}
