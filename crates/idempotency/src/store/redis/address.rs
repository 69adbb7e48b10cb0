//! From a URL to what the client connects to.

use std::time::Duration;

use redis::{
    ConnectionInfo, IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};

use super::RedisError;
#[cfg(feature = "redis-tls")]
use crate::store::tls::choose_cryptography;

/// What the URL says.
pub(super) fn of(url: &str) -> Result<ConnectionInfo, RedisError> {
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        prepare_tls()?;
    }
    let info = url.into_connection_info().map_err(RedisError::url)?;
    Ok(info.set_tcp_settings(tcp()))
}

/// Small commands leave at once, and a peer that has vanished is noticed also by those who only listen.
pub(super) fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true).set_keepalive(
        TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5)),
    )
}

#[cfg(feature = "redis-tls")]
fn prepare_tls() -> Result<(), RedisError> {
    choose_cryptography();
    Ok(())
}

#[cfg(not(feature = "redis-tls"))]
fn prepare_tls() -> Result<(), RedisError> {
    Err(RedisError::TlsMissing)
}
