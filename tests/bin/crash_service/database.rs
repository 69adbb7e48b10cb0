//! Where the bookings and the keys are.

use std::{error::Error, sync::Arc};

use axum::response::{IntoResponse, Response};
use idempotency::{
    CommitError, Execution, FirestoreDatabase, FirestoreStore, MemoryStore, PostgresStore,
    RedisStore, SqliteDatabase, SqliteStore, Store,
};
use serde_json::json;
use sqlx::{postgres::PgPoolOptions, raw_sql};

use crate::{
    Booking,
    clients::{Client, ClientKind},
};

#[derive(Clone)]
pub(crate) enum Database {
    Sqlite(SqliteDatabase),
    Postgres(Client),
    Firestore(Box<FirestoreDatabase>),
    /// There is no table of bookings beside the keys.
    None,
}

/// Services that start together both execute it.
const CREATE: &str =
    "create table if not exists bookings (id text primary key, customer_name text not null)";

/// PostgreSQL fails if two sessions make the same table concurrently.
const LOCK: &str = "select pg_advisory_xact_lock(4607182418800017408)";

pub(crate) const MAX_CONNECTIONS: u32 = 20;

/// `sqlite:PATH`, `postgres://…`, `redis://…`, `firestore://PROJECT` or `memory:`.
pub(crate) async fn open(
    url: &str,
    client: ClientKind,
) -> Result<(Database, Arc<dyn Store>), Box<dyn Error>> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let file = SqliteDatabase::open(path)?;
        file.write(|connection| connection.execute_batch(CREATE))
            .await?;
        let store = SqliteStore::new(file.clone())?;
        return Ok((Database::Sqlite(file), Arc::new(store)));
    }
    if let Some(project) = url.strip_prefix("firestore://") {
        let database = FirestoreDatabase::connect(project).await?;
        let store = FirestoreStore::new(database.clone());
        return Ok((Database::Firestore(Box::new(database)), Arc::new(store)));
    }
    if url == "memory:" {
        return Ok((Database::None, Arc::new(MemoryStore::new())));
    }
    if url.starts_with("redis:") {
        let store = RedisStore::connect(url).await?;
        return Ok((Database::None, Arc::new(store)));
    }
    let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS);
    let pool = pool.connect(url).await?;
    let mut transaction = pool.begin().await?;
    raw_sql(LOCK).execute(&mut *transaction).await?;
    raw_sql(CREATE).execute(&mut *transaction).await?;
    transaction.commit().await?;
    let store = match client {
        ClientKind::Sqlx09 => PostgresStore::new(pool.clone()),
        // It has its own connections.
        ClientKind::Sqlx08 | ClientKind::TokioPostgres => PostgresStore::connect(url).await?,
    };
    store.create_schema().await?;
    let client = Client::new(client, url, pool)?;
    Ok((Database::Postgres(client), Arc::new(store)))
}

impl Database {
    pub(crate) async fn commit(
        &self,
        execution: &Execution,
        booking: Booking,
        reply: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        let (id, name) = (booking.id.to_string(), booking.customer_name);
        match self {
            Self::Sqlite(file) => {
                let insert = file.transaction(move |connection| {
                    connection.execute("insert into bookings values (?1, ?2)", [id, name])
                });
                execution.commit(insert, reply).await
            }
            Self::Postgres(client) => client.commit(execution, id, name, reply).await,
            Self::Firestore(database) => {
                let booking = json!({ "customer_name": name });
                let create = database.transaction();
                let create = create.create("bookings", &id.to_string(), &booking);
                execution.commit(create, reply).await
            }
            Self::None => Err(CommitError::Misused(
                "no bookings are kept beside these keys",
            )),
        }
    }
}
