//! A booking service for tests that kill it: its keys are held by leases of a second, and its guarantee can be broken.

mod broken;
mod clients;
mod runs;

use std::{
    error::Error,
    io::{Write, stdout},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::post,
};
use clap::Parser;
use core_api::logging;
use idempotency::{
    CommitError, Execution, FirestoreDatabase, FirestoreStore, Idempotency, PostgresStore,
    SqliteDatabase, SqliteStore, Store, idempotent,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::{postgres::PgPoolOptions, raw_sql};
use tests::delegate::Delegate;
use tokio::{net::TcpListener, time::sleep};
use uuid::Uuid;

use broken::{Broken, BrokenStore};
use clients::{Client, ClientKind};
use runs::Runs;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    listen: SocketAddr,
    /// `sqlite:PATH`, `postgres://…` or `firestore://PROJECT`.
    #[arg(long)]
    database: String,
    /// Where the runs are noted.
    #[arg(long)]
    runs: PathBuf,
    /// Leases of a minute.
    #[arg(long)]
    long_lease: bool,
    /// Bookings that carry their keys, in place of leases.
    #[arg(long)]
    transactional: bool,
    /// The client that writes bookings to PostgreSQL.
    #[arg(long, default_value = "sqlx09")]
    client: ClientKind,
    #[arg(long)]
    broken: Option<Broken>,
}

#[derive(Clone)]
struct App {
    database: Database,
    runs: Runs,
    broken: Option<Broken>,
}

#[derive(Clone)]
enum Database {
    Sqlite(SqliteDatabase),
    Postgres(Client),
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

/// Services that start together both execute it.
const CREATE: &str =
    "create table if not exists bookings (id text primary key, customer_name text not null)";

/// PostgreSQL fails if two sessions make the same table concurrently.
const LOCK: &str = "select pg_advisory_xact_lock(4607182418800017408)";

const MAX_CONNECTIONS: u32 = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    logging::start(None);
    let (database, store) = open(&options.database, options.client).await?;
    let store: Arc<dyn Store> = match options.broken {
        Some(broken @ (Broken::Unfenced | Broken::KeepsClaims | Broken::Steals)) => {
            Arc::new(Delegate(BrokenStore { store, broken }))
        }
        Some(Broken::SecondCommit) | None => store,
    };
    let app = App {
        database,
        runs: Runs::open(&options.runs)?,
        broken: options.broken,
    };
    let create = match (options.transactional, options.long_lease) {
        (true, _) => post(create_booking_with_its_key),
        (false, true) => post(create_booking_under_a_long_lease),
        (false, false) => post(create_booking),
    };
    let router = Router::new()
        .route("/bookings", create)
        .with_state(app)
        .layer(Extension(Idempotency::builder(store).build()));
    let listener = TcpListener::bind(options.listen).await?;
    writeln!(stdout(), "listens on http://{} now", options.listen)?;
    Ok(axum::serve(listener, router).await?)
}

async fn open(url: &str, client: ClientKind) -> Result<(Database, Arc<dyn Store>), Box<dyn Error>> {
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

#[idempotent(ttl_seconds = 3600, transactional)]
async fn create_booking_with_its_key(
    State(app): State<App>,
    headers: HeaderMap,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    app.book(&headers, &execution, new).await
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 1)]
async fn create_booking(
    State(app): State<App>,
    headers: HeaderMap,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    app.book(&headers, &execution, new).await
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 60)]
async fn create_booking_under_a_long_lease(
    State(app): State<App>,
    headers: HeaderMap,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    app.book(&headers, &execution, new).await
}

impl App {
    async fn book(
        &self,
        headers: &HeaderMap,
        execution: &Execution,
        new: NewBooking,
    ) -> Result<Response, CommitError> {
        let _run = self.runs.begin(&new.customer_name);
        let booking = Booking {
            id: Uuid::now_v7(),
            customer_name: new.customer_name,
        };
        let location = [(LOCATION, format!("/bookings/{}", booking.id))];
        let reply = (StatusCode::CREATED, location, Json(booking.clone()));
        match self.broken {
            Some(Broken::SecondCommit) => {
                let alone = Execution::unprotected();
                let reply = self.database.commit(&alone, booking, reply).await?;
                sleep(delay(headers)).await;
                Ok(reply)
            }
            _ => {
                sleep(delay(headers)).await;
                self.database.commit(execution, booking, reply).await
            }
        }
    }
}

/// The delay that a client orders with core-api's header field.
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
        }
    }
}
