//! How a store is opened, and what it finds there.

use std::time::Duration;

use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{PostgresStore, PostgresStoreError, route::Route, schema};

/// How long opening a connection or making the tables may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

impl PostgresStore {
    /// A store with a pool of its own for this URL, and its tables made.
    ///
    /// Name an `sslmode` where the server is not on this machine, and turn a TLS of sqlx on (see [`PostgresStore`]). The default, `prefer`, sends the password unencrypted to
    /// whoever refuses TLS and asks for it; only `verify-full` sees to it that nobody passes for the server.
    ///
    /// [`Execution::commit`](crate::Execution::commit) commits keys with the application's transactions, by whatever client, if
    /// they are in this database and schema. That is looked up in the transaction itself.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood or the server not be reached, and as
    /// [`create_schema`](Self::create_schema).
    pub async fn connect(url: &str) -> Result<Self, PostgresStoreError> {
        let options: PgConnectOptions = url.parse().map_err(PostgresStoreError::Url)?;
        let options = options.extra_float_digits(None);
        // Not by the pool, which would go on trying, and then say nothing of the reason.
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

    /// Makes the tables where there are none. Several processes may call it at one time.
    ///
    /// # Errors
    ///
    /// If the server takes no writes, as a standby does, if a newer version of this library made the tables that are there, or
    /// if they cannot be made.
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

    /// Whether a pooler lends out the server's processes by the transaction, so that statements cannot stay
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
