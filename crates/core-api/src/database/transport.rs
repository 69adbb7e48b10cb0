//! Whether somebody on the way to a server can read what is sent to it.

use std::net::IpAddr;

use idempotency::PostgresStoreError;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use super::DatabaseError;
use crate::{DatabaseUrl, RedisUrl, ServerError, ServerUrl, StoreUrl, config::Config};

/// Checks the way to each server, before anything is sent to one.
pub(super) fn check(config: &Config) -> Result<(), ServerError> {
    if let DatabaseUrl::Postgres(url) = &config.database {
        check_postgres(url)
            .map_err(|error| ServerError::Database(url.to_string(), Box::new(error)))?;
    }
    match &config.idempotency_store {
        StoreUrl::Postgres(url) => check_postgres(url)
            .map_err(|error| ServerError::IdempotencyStore(url.to_string(), Box::new(error))),
        StoreUrl::Redis(url) => {
            warn_of_redis(url);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `prefer` protects from nobody and is what counts where nothing was said, so it is refused. The other modes have to be named,
/// which is the operator's word.
fn check_postgres(url: &ServerUrl) -> Result<(), DatabaseError> {
    let options: PgConnectOptions = url.expose().parse().map_err(PostgresStoreError::Url)?;
    let host = options.get_host();
    if options.get_socket().is_some() || host.starts_with('/') || is_local(host) {
        return Ok(());
    }
    match options.get_ssl_mode() {
        PgSslMode::VerifyFull => {}
        PgSslMode::Prefer => return Err(DatabaseError::Unprotected),
        PgSslMode::Disable | PgSslMode::Allow => tracing::warn!(
            "the way to PostgreSQL is not encrypted, because the sslmode says so: the password and all data can be read on it",
        ),
        PgSslMode::Require => tracing::warn!(
            "the certificate of the PostgreSQL server is not verified, because the sslmode is require: another server that \
             passes for it gets the password; verify-full prevents that",
        ),
        PgSslMode::VerifyCa => tracing::warn!(
            "the name of the PostgreSQL server is not verified, because the sslmode is verify-ca: any other server with a \
             certificate of the same authority passes for it; verify-full prevents that",
        ),
    }
    Ok(())
}

fn warn_of_redis(url: &RedisUrl) {
    let Some(rest) = url.expose().strip_prefix("redis://") else {
        return;
    };
    // A password may have any character in it; no host has this one.
    let Some((credentials, server)) = rest.rsplit_once('@') else {
        return;
    };
    let has_password = credentials
        .split_once(':')
        .is_some_and(|(_, it)| !it.is_empty());
    if has_password && !is_local(host(server)) {
        tracing::warn!(
            "the way to Redis is not encrypted: the password and all responses can be read on it; rediss:// prevents that",
        );
    }
}

/// The host of what stands behind the credentials of a URL.
fn host(server: &str) -> &str {
    let address = server.split(['/', '?', '#']).next().unwrap_or_default();
    match address.find(']') {
        Some(end) => &address[..=end],
        None => address.split(':').next().unwrap_or_default(),
    }
}

/// Whether nothing leaves this machine on the way to this host.
fn is_local(host: &str) -> bool {
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
        for (server, expected) in [
            ("localhost:6379/2", true),
            ("LOCALHOST", true),
            ("127.0.0.2", true),
            ("[::1]:6379", true),
            ("", false),
            ("localhost.example.org", false),
            ("10.0.0.1:6379", false),
            ("[::]", false),
            ("keys?protocol=resp3", false),
        ] {
            assert_eq!(is_local(host(server)), expected, "{server}");
        }
    }
}
