//! A booking service for tests that kill it: its keys are held by leases of a second, and its guarantee can be broken.

use std::{
    error::Error,
    io::{Write, stdout},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use core_api::logging;
use idempotency::{
    Claim, CommitError, Execution, Fenced, Fingerprint, FirestoreDatabase, FirestoreStore, Hold,
    Idempotency, OnLost, PostgresStore, Record, RecordId, Resolution, SqliteDatabase, SqliteStore,
    Store, StoreError, Subscription, Token, idempotent,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{PgPool, postgres::PgPoolOptions, query, raw_sql};
use tokio::{net::TcpListener, time::sleep};
use uuid::Uuid;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    listen: SocketAddr,
    /// `sqlite:PATH`, `postgres://…` or `firestore://PROJECT`.
    #[arg(long)]
    database: String,
    #[arg(long)]
    broken: Option<Broken>,
}

/// What is wrong with the service on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Broken {
    /// Whoever has lost the key can end its run all the same.
    Unfenced,
    /// The booking is committed first, and the key's record afterwards.
    SecondCommit,
}

#[derive(Clone)]
struct App {
    database: Database,
    broken: Option<Broken>,
}

#[derive(Clone)]
enum Database {
    Sqlite(SqliteDatabase),
    Postgres(PgPool),
    Firestore(Box<FirestoreDatabase>),
}

#[derive(Deserialize)]
struct NewBooking {
    customer_name: String,
}

#[derive(Clone, Serialize)]
struct Booking {
    id: Uuid,
    customer_name: String,
}

/// Services that start together both say it.
const CREATE: &str =
    "create table if not exists bookings (id text primary key, customer_name text not null)";

/// PostgreSQL fails on two that make the same table at one time.
const LOCK: &str = "select pg_advisory_xact_lock(4607182418800017408)";

const MOST_CONNECTIONS: u32 = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    logging::start(None);
    let (database, store) = open(&options.database).await?;
    let store: Arc<dyn Store> = match options.broken {
        Some(Broken::Unfenced) => Arc::new(Unfenced(store)),
        _ => store,
    };
    let app = App {
        database,
        broken: options.broken,
    };
    let router = Router::new()
        .route("/bookings", post(create_booking))
        .with_state(app)
        .layer(Extension(Idempotency::builder(store).build()));
    let listener = TcpListener::bind(options.listen).await?;
    writeln!(stdout(), "listens on http://{} now", options.listen)?;
    Ok(axum::serve(listener, router).await?)
}

async fn open(url: &str) -> Result<(Database, Arc<dyn Store>), Box<dyn Error>> {
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
    let pool = PgPoolOptions::new().max_connections(MOST_CONNECTIONS);
    let pool = pool.connect(url).await?;
    let mut transaction = pool.begin().await?;
    raw_sql(LOCK).execute(&mut *transaction).await?;
    raw_sql(CREATE).execute(&mut *transaction).await?;
    transaction.commit().await?;
    let store = PostgresStore::new(pool.clone());
    store.create_schema().await?;
    Ok((Database::Postgres(pool), Arc::new(store)))
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 1)]
async fn create_booking(
    State(app): State<App>,
    headers: HeaderMap,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    let booking = Booking {
        id: Uuid::now_v7(),
        customer_name: new.customer_name,
    };
    let location = [(LOCATION, format!("/bookings/{}", booking.id))];
    let answer = (StatusCode::CREATED, location, Json(booking.clone()));
    match app.broken {
        Some(Broken::SecondCommit) => {
            let alone = Execution::unprotected();
            let answer = app.database.commit(&alone, booking, answer).await?;
            sleep(delay(&headers)).await;
            Ok(answer)
        }
        _ => {
            sleep(delay(&headers)).await;
            app.database.commit(&execution, booking, answer).await
        }
    }
}

/// As clients of core-api order it.
fn delay(headers: &HeaderMap) -> Duration {
    let milliseconds = headers.get("x-fault-delay-ms");
    let milliseconds = milliseconds.and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_millis(milliseconds.unwrap_or_default())
}

impl Database {
    async fn commit(
        &self,
        execution: &Execution,
        booking: Booking,
        answer: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        let (id, name) = (booking.id.to_string(), booking.customer_name);
        match self {
            Self::Sqlite(file) => {
                let insert = file.transaction(move |connection| {
                    connection.execute("insert into bookings values (?1, ?2)", [id, name])
                });
                execution.commit(insert, answer).await
            }
            Self::Postgres(pool) => {
                let failed = |error: sqlx::Error| CommitError::Failed(error.into());
                let mut transaction = pool.begin().await.map_err(failed)?;
                let insert = query("insert into bookings values ($1, $2)");
                let insert = insert.bind(id).bind(name);
                insert.execute(&mut *transaction).await.map_err(failed)?;
                execution.commit(transaction, answer).await
            }
            Self::Firestore(database) => {
                let booking = json!({ "customer_name": name });
                let create = database.transaction();
                let create = create.create("bookings", &id.to_string(), &booking);
                execution.commit(create, answer).await
            }
        }
    }
}

/// A store that asks nobody who they are: a run that has lost its key goes on as if it had it.
#[derive(Debug)]
struct Unfenced(Arc<dyn Store>);

#[async_trait]
impl Store for Unfenced {
    async fn claim(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claim, StoreError> {
        self.0.claim(hold, fingerprint, on_lost).await
    }

    async fn withdraw(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<(), StoreError> {
        self.0.withdraw(hold, fingerprint, on_lost).await
    }

    async fn renew(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        self.0.renew(hold).await?;
        Ok(Fenced::Done(()))
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<Fenced<()>, StoreError> {
        self.0.checkpoint(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<Fenced<SystemTime>, StoreError> {
        let completed = self.0.complete(hold, outcome.clone()).await?;
        if let Fenced::Done(_) = completed {
            return Ok(completed);
        }
        if let Some(record) = self.0.inspect(&hold.id).await? {
            let ttl = hold.ttl;
            let by_force = Resolution::Complete { outcome, ttl };
            self.0.resolve(&hold.id, &record.token, by_force).await?;
        }
        Ok(Fenced::Done(SystemTime::now() + hold.ttl))
    }

    async fn release(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        self.0.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.0.inspect(id).await
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        self.0.list(after, limit).await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<Fenced<()>, StoreError> {
        self.0.resolve(id, seen, resolution).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.purge_expired(limit).await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.0.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        self.0.outcome_limit()
    }
}
