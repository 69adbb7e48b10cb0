//! Turns a URL into connection settings for the client.

use std::time::Duration;

use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::{RedisStoreError, slots::Node};
#[cfg(feature = "redis-tls")]
use crate::store::tls::is_provider_installed;

/// The connection settings that the URL describes.
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

/// Sends small commands at once, and detects a vanished peer even on a connection that only listens.
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

/// How long sent data may stay unacknowledged until the connection counts as broken.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(5);

/// The settings of one cluster node, changed to another node's address.
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

/// The node's address; `None` for a Unix socket, which no cluster uses.
pub(super) fn node(info: &ConnectionInfo) -> Option<Node> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}
