//! Whether a server is on this machine.

use std::net::IpAddr;

/// Whether nothing leaves this machine on the way to this host.
pub(super) fn is_local(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    match address.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_on_this_machine_is_local() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST", true),
            ("127.0.0.2", true),
            ("[::1]", true),
            ("", false),
            ("localhost.example.org", false),
            ("10.0.0.1", false),
            ("[::]", false),
        ] {
            assert_eq!(is_local(host), expected, "{host}");
        }
    }
}
