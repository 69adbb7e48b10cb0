//! Which emulators the environment may name.

use std::net::{IpAddr, SocketAddr};

/// Whether the environment alone may direct this project to the emulator at this address. A variable that was left over
/// must not send a Google project to another machine, where bookings are lost. No Google project has a name that begins
/// with `demo-`.
pub(super) fn may_have(project: &str, host: &str) -> bool {
    project.starts_with("demo-") || is_here(host)
}

fn is_here(host: &str) -> bool {
    let is_local = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    if let Ok(address) = host.parse::<SocketAddr>() {
        return is_local(address.ip());
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse().is_ok_and(is_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_demonstrations_have_emulators_on_other_machines() {
        for here in [
            "127.0.0.1:8080",
            "localhost:8080",
            "[::1]:8080",
            "0.0.0.0:8080",
            "127.0.0.1",
        ] {
            assert!(may_have("my-project", here), "{here}");
        }
        for elsewhere in [
            "10.0.0.7:8080",
            "firestore:8080",
            "localhost.example:80",
            "[::2]:1",
            "x@localhost",
        ] {
            assert!(!may_have("my-project", elsewhere), "{elsewhere}");
            assert!(may_have("demo-project", elsewhere), "{elsewhere}");
        }
    }
}
