//! A booking service for tests that kill it: its keys are held by leases of a second, and its guarantee can be broken. It can also
//! die by itself at a point that is named.

mod broken;
mod clients;
mod database;
mod dying;
mod points;
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
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::post,
};
use clap::Parser;
use core_api::logging;
use idempotency::{CommitError, Execution, Idempotency, Store, idempotent};
use serde::{Deserialize, Serialize};
use tests::delegate::Delegate;
use tokio::{net::TcpListener, time::sleep};
use uuid::Uuid;

use broken::{Broken, BrokenStore};
use clients::ClientKind;
use database::{Database, open};
use dying::DyingStore;
use points::{Death, Point};
use runs::Runs;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long)]
    listen: SocketAddr,
    /// As [`open`] takes it.
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
    /// Where the process ends, as soon as a request is there.
    #[arg(long)]
    die: Option<Point>,
}

#[derive(Clone)]
struct App {
    database: Database,
    runs: Runs,
    broken: Option<Broken>,
    death: Death,
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
    let death = Death(options.die);
    let store = match death {
        Death(None) => store,
        Death(Some(_)) => Arc::new(Delegate(DyingStore { store, death })),
    };
    let app = App {
        database,
        runs: Runs::open(&options.runs)?,
        broken: options.broken,
        death,
    };
    let create = match (options.transactional, options.long_lease) {
        (true, _) => post(create_booking_with_its_key),
        (false, true) => post(create_booking_under_a_long_lease),
        (false, false) => post(create_booking),
    };
    let router = Router::new()
        .route("/bookings", create)
        .merge(dying::routes())
        .with_state(app)
        .layer(Extension(Idempotency::builder(store).build()))
        .layer(map_response(move |response: Response| async move {
            death.at(Point::BeforeResponse);
            response
        }));
    let listener = TcpListener::bind(options.listen).await?;
    writeln!(stdout(), "listens on http://{} now", options.listen)?;
    Ok(axum::serve(listener, router).await?)
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

impl Booking {
    fn of(new: NewBooking) -> Self {
        Self {
            id: Uuid::now_v7(),
            customer_name: new.customer_name,
        }
    }

    fn reply(&self) -> impl IntoResponse + Send + use<> {
        let location = [(LOCATION, format!("/bookings/{}", self.id))];
        (StatusCode::CREATED, location, Json(self.clone()))
    }
}

impl App {
    async fn book(
        &self,
        headers: &HeaderMap,
        execution: &Execution,
        new: NewBooking,
    ) -> Result<Response, CommitError> {
        let _run = self.runs.begin(&new.customer_name);
        let booking = Booking::of(new);
        let reply = booking.reply();
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
