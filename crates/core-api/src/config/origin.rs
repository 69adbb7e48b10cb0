//! Origins of web pages, as browsers write them.

use std::{fmt, str::FromStr};

use axum::http::{HeaderValue, uri::Authority};

/// The origin of pages whose scripts may call the service, such as `https://shop.example`.
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

    /// Accepts only what a browser sends, because origins are compared byte for byte.
    fn from_str(text: &str) -> Result<Self, String> {
        const ACCEPTED: &str = "expected an origin as browsers send it, such as https://shop.example or http://localhost:5173";
        if matches!(text, "*" | "null") {
            return Err(format!(
                "{ACCEPTED}; {text} would let any page write bookings through the browsers of its visitors"
            ));
        }
        let is_origin = text
            .split_once("://")
            .is_some_and(|(scheme, server)| is_scheme(scheme) && is_server(scheme, server));
        if is_origin {
            Ok(Self(text.into()))
        } else {
            Err(format!(
                "{ACCEPTED}: in lower case, without a path, and without the default port of the scheme"
            ))
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Apps and browser extensions have other schemes.
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
    let allowed: fn(u8) -> bool = if host.starts_with('[') {
        |byte| b"[]:".contains(&byte) || matches!(byte, b'0'..=b'9' | b'a'..=b'f')
    } else {
        |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte)
    };
    if host.is_empty() || !host.bytes().all(allowed) {
        return false;
    }
    // A port follows the host; browsers omit the scheme's default.
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    server.strip_prefix(host).is_some_and(|port| {
        let number = port.strip_prefix(':').map(str::parse::<u16>);
        match number {
            Some(Ok(number)) => port == format!(":{number}") && port != default_port,
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
