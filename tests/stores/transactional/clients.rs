//! The PostgreSQL clients with which an application can write its bookings.

use axum::response::Response;
use futures_util::future::BoxFuture;
use idempotency::{CommitError, Execution, store::PostgresTransaction};
use sqlx::{Acquire, PgPool, Postgres, pool::PoolConnection, postgres::PgPoolOptions};

use super::service::HandlerProbe;

/// The client of one service.
#[derive(Clone, Debug)]
pub(super) enum Client {
    Sqlx09(PgPool),
    Sqlx08(sqlx_0_8::PgPool),
    TokioPostgres(String),
}

/// Which one it is.
#[derive(Clone, Copy, Debug)]
pub(super) enum ClientKind {
    Sqlx09,
    Sqlx08,
    TokioPostgres,
}

/// What a handler does to its transaction before it commits that.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Plainly,
    /// It writes nothing.
    Empty,
    /// It leaves no statement prepared on the server.
    Unprepared,
    /// It stops until the test lets it continue.
    Stopping,
    /// It commits a nested transaction in it first, with a booking of Zoe's, and rolls another one back.
    AroundNested,
    /// It commits the nested one.
    Nested,
    /// It executes this SQL and ignores its failure.
    Saying(&'static str),
}

type Result<T> = std::result::Result<T, CommitError>;

/// What differs between the clients.
trait Driver: Sync {
    type Connection: Send;
    type Transaction<'a>: PostgresTransaction;
    /// The statement that is needed after a nested transaction was rolled back.
    const AFTER_ROLLBACK: &'static str = "";

    async fn connect(&self) -> Result<Self::Connection>;
    async fn begin(connection: &mut Self::Connection) -> Result<Self::Transaction<'_>>;
    async fn nest<'a>(outer: &'a mut Self::Transaction<'_>) -> Result<Self::Transaction<'a>>;
    async fn insert(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()>;
    async fn insert_unprepared(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()>;
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CommitError {
    CommitError::Failed(error.into())
}

const INSERT: &str = "insert into bookings values ($1)";

impl Client {
    pub(super) async fn new(kind: ClientKind, url: &str, connections: u32) -> Self {
        match kind {
            ClientKind::Sqlx09 => {
                let pool = PgPoolOptions::new().max_connections(connections);
                Self::Sqlx09(pool.connect(url).await.expect("a pool"))
            }
            ClientKind::Sqlx08 => {
                let pool = sqlx_0_8::postgres::PgPoolOptions::new().max_connections(connections);
                Self::Sqlx08(pool.connect(url).await.expect("a pool"))
            }
            ClientKind::TokioPostgres => Self::TokioPostgres(url.to_owned()),
        }
    }

    /// One that goes through a pooler, which refuses what sqlx says of floating-point numbers when it connects.
    pub(super) fn pooled(kind: ClientKind, url: &str) -> Self {
        match kind {
            ClientKind::Sqlx09 => {
                let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
                let pool = PgPoolOptions::new().max_connections(10);
                Self::Sqlx09(pool.connect_lazy_with(options.extra_float_digits(None)))
            }
            ClientKind::Sqlx08 => {
                let options: sqlx_0_8::postgres::PgConnectOptions = url.parse().expect("a URL");
                let pool = sqlx_0_8::postgres::PgPoolOptions::new().max_connections(10);
                Self::Sqlx08(pool.connect_lazy_with(options.extra_float_digits(None)))
            }
            ClientKind::TokioPostgres => Self::TokioPostgres(url.to_owned()),
        }
    }

    /// Commits a booking of this guest, with this response.
    pub(super) fn book<'a>(
        &'a self,
        way: Way,
        probe: &'a HandlerProbe,
        execution: &'a Execution,
        guest: &'a str,
        response: Response,
    ) -> BoxFuture<'a, Result<Response>> {
        macro_rules! book {
            ($driver:ty, $own:expr) => {
                Box::pin(async move {
                    let mut connection = <$driver as Driver>::connect($own).await?;
                    let mut transaction = <$driver as Driver>::begin(&mut connection).await?;
                    match way {
                        Way::Empty => {}
                        Way::Unprepared => {
                            <$driver as Driver>::insert_unprepared(&mut transaction, guest).await?;
                        }
                        Way::Nested => {
                            let mut nested = <$driver as Driver>::nest(&mut transaction).await?;
                            <$driver as Driver>::insert(&mut nested, guest).await?;
                            return execution.commit(nested, response).await;
                        }
                        Way::AroundNested => {
                            let mut nested = <$driver as Driver>::nest(&mut transaction).await?;
                            <$driver as Driver>::insert(&mut nested, "Zoe").await?;
                            PostgresTransaction::commit(nested).await.map_err(failed)?;
                            let mut nested = <$driver as Driver>::nest(&mut transaction).await?;
                            <$driver as Driver>::insert(&mut nested, "nobody").await?;
                            PostgresTransaction::rollback(nested)
                                .await
                                .map_err(failed)?;
                            let after = <$driver as Driver>::AFTER_ROLLBACK;
                            PostgresTransaction::execute_statements(&mut transaction, after)
                                .await
                                .map_err(failed)?;
                            <$driver as Driver>::insert(&mut transaction, guest).await?;
                        }
                        _ => <$driver as Driver>::insert(&mut transaction, guest).await?,
                    }
                    if let Way::Stopping = way {
                        probe.arrived.add_permits(1);
                        probe.pass.acquire().await.expect("a gate").forget();
                    }
                    if let Way::Saying(statements) = way {
                        drop(
                            PostgresTransaction::execute_statements(&mut transaction, statements)
                                .await,
                        );
                    }
                    execution.commit(transaction, response).await
                })
            };
        }
        match self {
            Self::Sqlx09(pool) => book!(PgPool, pool),
            Self::Sqlx08(pool) => book!(sqlx_0_8::PgPool, pool),
            Self::TokioPostgres(url) => book!(String, url),
        }
    }
}

impl Driver for PgPool {
    type Connection = PoolConnection<Postgres>;
    type Transaction<'a> = sqlx::Transaction<'a, Postgres>;

    async fn connect(&self) -> Result<Self::Connection> {
        Ok(self.acquire().await?)
    }

    async fn begin(connection: &mut Self::Connection) -> Result<Self::Transaction<'_>> {
        Ok(connection.begin().await?)
    }

    async fn nest<'a>(outer: &'a mut Self::Transaction<'_>) -> Result<Self::Transaction<'a>> {
        Ok(outer.begin().await?)
    }

    async fn insert(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()> {
        let insert = sqlx::query(INSERT).bind(guest);
        insert.execute(&mut **transaction).await?;
        Ok(())
    }

    async fn insert_unprepared(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()> {
        let insert = sqlx::query(INSERT).bind(guest).persistent(false);
        insert.execute(&mut **transaction).await?;
        Ok(())
    }
}

impl Driver for sqlx_0_8::PgPool {
    type Connection = sqlx_0_8::pool::PoolConnection<sqlx_0_8::Postgres>;
    type Transaction<'a> = sqlx_0_8::Transaction<'a, sqlx_0_8::Postgres>;

    async fn connect(&self) -> Result<Self::Connection> {
        Ok(self.acquire().await?)
    }

    async fn begin(connection: &mut Self::Connection) -> Result<Self::Transaction<'_>> {
        Ok(sqlx_0_8::Acquire::begin(connection).await?)
    }

    async fn nest<'a>(outer: &'a mut Self::Transaction<'_>) -> Result<Self::Transaction<'a>> {
        Ok(sqlx_0_8::Acquire::begin(outer).await?)
    }

    async fn insert(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()> {
        let insert = sqlx_0_8::query(INSERT).bind(guest);
        insert.execute(&mut **transaction).await?;
        Ok(())
    }

    async fn insert_unprepared(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()> {
        let insert = sqlx_0_8::query(INSERT).bind(guest).persistent(false);
        insert.execute(&mut **transaction).await?;
        Ok(())
    }
}

/// A connection for each booking.
impl Driver for String {
    type Connection = tokio_postgres::Client;
    type Transaction<'a> = tokio_postgres::Transaction<'a>;
    const AFTER_ROLLBACK: &'static str = "release savepoint sp_1";

    async fn connect(&self) -> Result<Self::Connection> {
        let (client, connection) = tokio_postgres::connect(self, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn begin(connection: &mut Self::Connection) -> Result<Self::Transaction<'_>> {
        Ok(connection.transaction().await?)
    }

    async fn nest<'a>(outer: &'a mut Self::Transaction<'_>) -> Result<Self::Transaction<'a>> {
        Ok(outer.transaction().await?)
    }

    async fn insert(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()> {
        transaction.execute(INSERT, &[&guest]).await?;
        Ok(())
    }

    async fn insert_unprepared(transaction: &mut Self::Transaction<'_>, guest: &str) -> Result<()> {
        let guest = (&guest as _, tokio_postgres::types::Type::TEXT);
        transaction.query_typed(INSERT, &[guest]).await?;
        Ok(())
    }
}
