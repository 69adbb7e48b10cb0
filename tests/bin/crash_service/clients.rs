//! The clients that write bookings to PostgreSQL.

use std::{error::Error, time::Duration};

use axum::response::{IntoResponse, Response};
use clap::ValueEnum;
use idempotency::{CommitError, Execution};
use sqlx::PgPool;
use tokio::time::timeout;

use crate::database::MAX_CONNECTIONS;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ClientKind {
    #[value(name = "sqlx09")]
    Sqlx09,
    #[value(name = "sqlx08")]
    Sqlx08,
    #[value(name = "tokio-postgres")]
    TokioPostgres,
}

#[derive(Clone)]
pub(crate) enum Client {
    Sqlx09(PgPool),
    Sqlx08(sqlx_0_8::PgPool),
    /// A connection for each booking.
    TokioPostgres(String),
}

const INSERT: &str = "insert into bookings values ($1, $2)";

/// How long a statement may take before its request gets a 500 response.
const PATIENCE: Duration = Duration::from_secs(3);

impl Client {
    pub(crate) fn new(kind: ClientKind, url: &str, pool: PgPool) -> Result<Self, Box<dyn Error>> {
        Ok(match kind {
            ClientKind::Sqlx09 => Self::Sqlx09(pool),
            ClientKind::Sqlx08 => {
                let pool = sqlx_0_8::postgres::PgPoolOptions::new();
                let pool = pool.max_connections(MAX_CONNECTIONS);
                Self::Sqlx08(pool.connect_lazy(url)?)
            }
            ClientKind::TokioPostgres => Self::TokioPostgres(url.to_owned()),
        })
    }

    pub(crate) async fn commit(
        &self,
        execution: &Execution,
        id: String,
        name: String,
        reply: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        match self {
            Self::Sqlx09(pool) => {
                let begun = in_time(async {
                    let mut transaction = pool.begin().await?;
                    let insert = sqlx::query(INSERT).bind(id).bind(name);
                    insert.execute(&mut *transaction).await?;
                    Ok::<_, sqlx::Error>(transaction)
                });
                execution.commit(begun.await?, reply).await
            }
            Self::Sqlx08(pool) => {
                let begun = in_time(async {
                    let mut transaction = pool.begin().await?;
                    let insert = sqlx_0_8::query(INSERT).bind(id).bind(name);
                    insert.execute(&mut *transaction).await?;
                    Ok::<_, sqlx_0_8::Error>(transaction)
                });
                execution.commit(begun.await?, reply).await
            }
            Self::TokioPostgres(url) => {
                let connected = tokio_postgres::connect(url, tokio_postgres::NoTls);
                let (mut client, connection) = in_time(connected).await?;
                tokio::spawn(connection);
                let begun = in_time(async {
                    let transaction = client.transaction().await?;
                    transaction.execute(INSERT, &[&id, &name]).await?;
                    Ok::<_, tokio_postgres::Error>(transaction)
                });
                execution.commit(begun.await?, reply).await
            }
        }
    }
}

/// The connection may have gone dark.
async fn in_time<T, E>(begun: impl Future<Output = Result<T, E>>) -> Result<T, CommitError>
where
    E: Error + Send + Sync + 'static,
{
    let begun = timeout(PATIENCE, begun).await;
    let begun = begun.map_err(|elapsed| CommitError::Failed(elapsed.into()))?;
    begun.map_err(|error| CommitError::Failed(error.into()))
}
