//! From a URL to what the client connects to.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{RedisStoreError, slots::Node};
#[cfg(feature = "redis-tls")]
use crate::store::tls::is_provider_installed;

/// What the URL says.
pub(super) fn of(url: &str) -> Result<ConnectionInfo, RedisStoreError> {
    #[cfg(not(feature = "redis-tls"))]
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        return Err(RedisStoreError::TlsMissing);
    }
    let info = url.into_connection_info().map_err(RedisStoreError::url)?;
    // Not by the text of the URL, in which spaces and capitals do not matter.
    #[cfg(feature = "redis-tls")]
    if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) && !is_provider_installed() {
        return Err(RedisStoreError::CryptoProviderMissing);
    }
    Ok(info.set_tcp_settings(tcp()))
}

/// Small commands leave at once, and a peer that has vanished is noticed also by those who only listen.
fn tcp() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(
        TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5)),
    );
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED_FOR);
    settings
}

/// How long what was sent may stay without an acknowledgement until the connection counts as broken.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(5);

/// The same as for this node of a cluster, for another one.
pub(super) fn of_node(seed: &ConnectionInfo, (host, port): Node) -> ConnectionInfo {
    let address = match seed.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    seed.clone().set_addr(address)
}

/// Where a node is; none for a socket of Unix, where no cluster is.
pub(super) fn node(info: &ConnectionInfo) -> Option<Node> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}
