//! Keys on a Redis server. It stores no bookings.

use std::sync::Arc;

use async_trait::async_trait;
use idempotency::{RedisStore, Store};

use super::{
    DatabaseError,
    local::is_local,
    open::{KeyDatabase, Keys},
};
use crate::config::RedisUrl;

/// The server that an option names.
pub(super) struct RedisServer(pub(super) RedisUrl);

#[async_trait]
impl KeyDatabase for RedisServer {
    /// Only warns, because a Redis server in a private network often has no certificate.
    fn check(&self) -> Result<(), DatabaseError> {
        if shows_its_password(self.0.expose()) {
            tracing::warn!(
                "the connection to Redis is not encrypted: the network can read the password and all responses; \
                 rediss:// prevents that",
            );
        }
        Ok(())
    }

    async fn open_keys(&self) -> Result<Box<dyn Keys>, DatabaseError> {
        let opened = RedisStore::connect(self.0.expose()).await;
        Ok(Box::new(
            opened.map_err(|error| DatabaseError::Client(Box::new(error)))?,
        ))
    }
}

impl Keys for RedisStore {
    fn into_store(self: Box<Self>) -> Arc<dyn Store> {
        Arc::new(*self)
    }
}

/// Whether a password is sent over the network in clear text.
fn shows_its_password(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("redis://") else {
        return false;
    };
    // A password may contain any character; no host contains this one.
    let Some((credentials, server)) = rest.rsplit_once('@') else {
        return false;
    };
    let has_password = credentials
        .split_once(':')
        .is_some_and(|(_, password)| !password.is_empty());
    has_password && !is_local(host(server))
}

/// The host in the part of a URL after the credentials.
fn host(server: &str) -> &str {
    let address = server.split(['/', '?', '#']).next().unwrap_or_default();
    match address.find(']') {
        Some(end) => &address[..=end],
        None => address.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_shown_where_it_leaves_this_machine_in_clear_text() {
        for (url, expected) in [
            ("redis://:pw@localhost:6379/2", false),
            ("redis://:pw@[::1]:6379", false),
            ("redis://:pw@10.0.0.1:6379", true),
            ("redis://:p@w/@keys?protocol=resp3", true),
            ("rediss://:pw@keys", false),
            ("redis://ann:@keys", false),
            ("redis://keys", false),
        ] {
            assert_eq!(shows_its_password(url), expected, "{url}");
        }
    }
}
