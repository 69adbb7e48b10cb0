//! URLs of servers, which may contain a password.

use std::fmt;

/// The URL of a server. It is displayed without its user, password and parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL is parsed only when the service connects: clap would repeat a refused value, including its secrets.
    pub(super) fn new(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// The URL with its secrets, for the client of the server.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once(':').unwrap_or(("", &self.0));
        // The last "@", because a password may contain others that should have been escaped.
        let address = match rest.rsplit_once('@') {
            Some((_, address)) => address,
            None => rest.trim_start_matches('/'),
        };
        let shown = address.split(['?', '#']).next().unwrap_or_default();
        write!(formatter, "{scheme}://{shown}")
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ServerUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_secrets() {
        for (url, shown) in [
            ("postgres://db/bookings", "postgres://db/bookings"),
            ("postgres://ann:pw@db:5432/b", "postgres://db:5432/b"),
            ("postgres://ann:p/w?@d@db/b", "postgres://db/b"),
            ("postgres://db/b?user=ann&password=pw", "postgres://db/b"),
            ("postgres://db/b?password=p@w", "postgres://w"),
            ("postgres:ann:pw@db/b", "postgres://db/b"),
            ("postgres:///b?host=/run", "postgres://b"),
        ] {
            let url = ServerUrl::new(url);
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("ServerUrl({shown})"));
        }
    }
}
