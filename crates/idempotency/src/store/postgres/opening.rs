//! How a store is opened and checked.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{PostgresStore, PostgresStoreError, route::Route, schema};

/// How long opening a connection or creating the tables may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

impl PostgresStore {
    /// A store with a pool of its own for this URL. Creates the tables if they do not exist.
    ///
    /// Set an `sslmode` if the server is not on this machine, and enable TLS in sqlx (see [`PostgresStore`]). With the
    /// default, `prefer`, a server that refuses TLS and asks for the password gets it unencrypted; only `verify-full`
    /// ensures that no other server can impersonate it.
    ///
    /// [`Execution::commit`](crate::Execution::commit) commits keys with the application's transactions, of any client,
    /// if they are in this database and schema. This is checked in the transaction itself.
    ///
    /// # Errors
    ///
    /// If the URL is invalid or the server cannot be reached, and as for [`create_schema`](Self::create_schema).
    pub async fn connect(url: &str) -> Result<Self, PostgresStoreError> {
        let options: PgConnectOptions = url.parse().map_err(PostgresStoreError::Url)?;
        let options = options.extra_float_digits(None);
        // Not through the pool, which would keep trying and then not report the reason.
        let set_up = async {
            let mut connection = PgConnection::connect_with(&options)
                .await
                .map_err(PostgresStoreError::Connect)?;
            schema::set_up(&mut connection).await?;
            connection
                .close()
                .await
                .map_err(PostgresStoreError::Connect)
        };
        in_time(set_up).await?;
        let pool = PgPoolOptions::new().connect_lazy_with(options);
        Ok(Self::new(pool))
    }

    /// Creates the tables if they do not exist. Several processes may call it concurrently.
    ///
    /// # Errors
    ///
    /// If the server accepts no writes, as on a standby; if a newer version of this library created the existing
    /// tables; or if the tables cannot be created.
    pub async fn create_schema(&self) -> Result<(), PostgresStoreError> {
        in_time(async {
            let mut connection = self
                .pool()
                .acquire()
                .await
                .map_err(PostgresStoreError::Connect)?;
            schema::set_up(&mut connection).await
        })
        .await
    }

    /// Whether there is a transaction-pooling proxy between the store and its server, so that statements cannot stay
    /// prepared and a session has no state.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached.
    pub async fn is_pooled(&self) -> Result<bool, PostgresStoreError> {
        let route = async {
            let route = self.0.connections.route().await;
            route.map_err(PostgresStoreError::Connect)
        };
        Ok(in_time(route).await? == Route::Pooled)
    }
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, PostgresStoreError>>,
) -> Result<T, PostgresStoreError> {
    timeout(OPEN_TIMEOUT, work)
        .await
        .unwrap_or(Err(PostgresStoreError::TimedOut))
}
