//! Origins of web pages, as browsers write them.

use std::{fmt, str::FromStr};

use axum::http::{HeaderValue, uri::Authority};

/// Where a page is from whose scripts may call the service, such as `https://shop.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// What a browser sends as `Origin`.
    pub(crate) fn to_value(&self) -> HeaderValue {
        let value = HeaderValue::try_from(&self.0);
        value.expect("an origin has only printable ASCII")
    }
}

impl FromStr for Origin {
    type Err = String;

    /// Takes only what a browser sends, byte for byte, because that is how they are compared.
    fn from_str(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "expected an origin as browsers send it, such as https://shop.example or http://localhost:5173";
        if matches!(text, "*" | "null") {
            return Err(format!(
                "{ACCEPTED}; {text} would let every page write bookings that one of its visitors can reach"
            ));
        }
        let is_origin = text
            .split_once("://")
            .is_some_and(|(scheme, server)| is_scheme(scheme) && is_server(scheme, server));
        match is_origin {
            true => Ok(Self(text.into())),
            false => Err(format!(
                "{ACCEPTED}: in lower case, without a path, and without the port that is the scheme's own"
            )),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Not only the web's: apps and extensions have their own.
fn is_scheme(scheme: &str) -> bool {
    let is_rest =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_lowercase()) && scheme.bytes().all(is_rest)
}

fn is_server(scheme: &str, server: &str) -> bool {
    let Ok(authority) = server.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let allowed: fn(u8) -> bool = match host.starts_with('[') {
        true => |byte| b"[]:".contains(&byte) || matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        false => {
            |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
        }
    };
    if host.is_empty() || !host.bytes().all(allowed) {
        return false;
    }
    // What there is besides the host is a port, and a browser leaves that of the scheme out.
    let left_out = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    server.strip_prefix(host).is_some_and(|port| {
        let number = port.strip_prefix(':').map(str::parse::<u16>);
        match number {
            Some(Ok(number)) => port == format!(":{number}") && port != left_out,
            Some(Err(_)) => false,
            None => port.is_empty(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for origin in [
            "https://shop.example",
            "http://localhost:5173",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://xn--bcher-kva.example",
            "http://shop.example:443",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ] {
            assert_eq!(origin.parse::<Origin>().unwrap().to_string(), origin);
        }
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for text in [
            "",
            "*",
            "null",
            "shop.example",
            "https:shop.example",
            "https://",
            "https://:8080",
            "https://shop.example/",
            "https://shop.example/cart",
            "https://shop.example?a",
            "https://Shop.example",
            "HTTPS://shop.example",
            "https://*.shop.example",
            "https://ann@shop.example",
            "https://shop.example:443",
            "http://shop.example:80",
            "http://shop.example:",
            "http://shop.example:08080",
            "http://shop.example:65536",
            "http://bücher.example",
            "http://[::1",
            "https://a.example https://b.example",
            "https://shop.example\r\nx: y",
        ] {
            let error = text.parse::<Origin>().unwrap_err();
            assert!(error.contains("https://shop.example"), "{text}: {error}");
        }
    }
}
