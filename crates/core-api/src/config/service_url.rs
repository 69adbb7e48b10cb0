//! The address of a running service.

use std::{fmt, net::IpAddr, str::FromStr};

use axum::http::uri::Authority;

/// Where a service runs, such as `http://127.0.0.1:3000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl(Authority);

impl ServiceUrl {
    /// The host and the port, as the field Host has them.
    pub(crate) fn authority(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host().trim_matches(['[', ']'])
    }

    /// Whether it is on this machine, as far as its name says.
    pub(crate) fn is_local(&self) -> bool {
        let address = self.host().parse::<IpAddr>();
        self.host() == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(80)
    }
}

impl FromStr for ServiceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "expected http:// and an address, such as http://127.0.0.1:3000: this command speaks no TLS. From another machine forward a port \
             by ssh -L"
                .to_owned()
        };
        let rest = text.strip_prefix("http://").ok_or_else(expected)?;
        let address = rest.strip_suffix('/').unwrap_or(rest);
        let authority = address.parse::<Authority>().ok();
        // A port that is none would otherwise be port 80, and another program would get the token.
        let has_port = |authority: &Authority| {
            authority.port_u16().is_some() || authority.as_str() == authority.host()
        };
        let authority =
            authority.filter(|authority| !authority.as_str().contains('@') && has_port(authority));
        authority.map(Self).ok_or_else(expected)
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_http_and_an_address() {
        for (text, host, port, is_local) in [
            ("http://127.0.0.1:3000", "127.0.0.1", 3000, true),
            ("http://localhost/", "localhost", 80, true),
            ("http://[::1]:3000", "::1", 3000, true),
            (
                "http://bookings.internal:80",
                "bookings.internal",
                80,
                false,
            ),
        ] {
            let url: ServiceUrl = text.parse().unwrap();
            assert_eq!(
                (url.host(), url.port(), url.is_local()),
                (host, port, is_local)
            );
        }
        for text in [
            "",
            "127.0.0.1:3000",
            "https://localhost",
            "http://",
            "http://a/b",
            "http://ann:pw@localhost",
            "http://127.0.0.1:300000",
            "http://127.0.0.1:3000x",
            "http://localhost:",
        ] {
            assert!(text.parse::<ServiceUrl>().is_err(), "{text}");
        }
    }
}
