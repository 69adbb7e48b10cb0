//! Connections to a PostgreSQL server.

use idempotency::{PostgresStore, store::PostgresStoreError};
use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
    raw_sql,
};
use tokio::time::timeout;

use super::{MAX_CONNECTIONS, STATEMENT_TIMEOUT};
use crate::{
    config::ServerUrl,
    database::{DatabaseError, local::is_local},
};

/// Reads have no transaction in which the limit could be set, so it is set on the connection.
const SET_LOCK_TIMEOUT: &str = "set lock_timeout = '3s'";

const UNPROTECTED: &str = "the server is not on this machine, and with the sslmode prefer, which is the default, the \
    password may be sent unencrypted; add ?sslmode=verify-full to the URL, with &sslrootcert=FILE for an authority of \
    your own, or name another sslmode if you trust the network";

/// Refuses `prefer`, which is the default mode and does not protect from an active attacker. Any other mode must be named in the
/// URL, and is then accepted.
pub(super) fn check(url: &ServerUrl) -> Result<(), DatabaseError> {
    let options: PgConnectOptions = url.expose().parse().map_err(PostgresStoreError::Url)?;
    let host = options.get_host();
    if options.get_socket().is_some() || host.starts_with('/') || is_local(host) {
        return Ok(());
    }
    match options.get_ssl_mode() {
        PgSslMode::VerifyFull => {}
        PgSslMode::Prefer => return Err(DatabaseError::Client(UNPROTECTED.into())),
        PgSslMode::Disable | PgSslMode::Allow => tracing::warn!(
            "the connection to PostgreSQL is not encrypted, because the sslmode says so: the network can read the password and all data",
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

/// A pool of connections to a server that has responded once.
pub(super) async fn connect(url: &ServerUrl) -> Result<PgPool, DatabaseError> {
    let options: PgConnectOptions = url.expose().parse().map_err(PostgresStoreError::Url)?;
    // By default PgBouncer refuses this setting.
    let options = options.extra_float_digits(None);
    // The first connection is not made by the pool, which would retry until its own time limit without reporting the cause.
    let connected = timeout(STATEMENT_TIMEOUT, PgConnection::connect_with(&options))
        .await
        .map_err(|_| PostgresStoreError::TimedOut)?
        .map_err(PostgresStoreError::Connect)?;
    connected.close().await?;
    let probe = PgPoolOptions::new().connect_lazy_with(options.clone());
    let is_pooled = PostgresStore::new(probe.clone()).is_pooled().await?;
    probe.close().await;
    let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS);
    let pool = if is_pooled {
        // Behind a pooler another client would inherit the setting with the session; there each statement has a transaction.
        pool
    } else {
        pool.after_connect(|connection, _| {
            Box::pin(async move {
                raw_sql(SET_LOCK_TIMEOUT).execute(connection).await?;
                Ok(())
            })
        })
    };
    Ok(pool.connect_lazy_with(options))
}
