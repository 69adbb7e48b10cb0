//! The booking service: its POST charges the guest, then writes the booking, and can die anywhere in between.

use std::path::Path;

use axum::{
    Extension, Json, Router,
    extract::State,
    http::StatusCode,
    response::{self, Response},
    routing::post,
};
use idempotency::{
    Execution, Idempotency, SqliteDatabase, Store, idempotent, store::SqliteStoreError,
};
use serde::{Deserialize, Serialize};

use crate::{crash::Crash, provider::Charge};

#[derive(Debug, Deserialize)]
struct NewBooking {
    room: String,
    euros: u32,
}

#[derive(Debug, Serialize)]
struct Booking {
    id: i64,
    room: String,
    charge: String,
    attempt: u32,
}

/// Charges once and books once, whatever happens: what was charged is a step of the run, which the next attempt is
/// given; and the booking, the answer and the end of the run are one commit.
///
/// The lease is short so that the example does not make you wait: it is how long a key stays taken whose process died.
#[idempotent(required, lease_seconds = 1)]
async fn book(
    State(service): State<Service>,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> response::Result<Response> {
    // The same on every attempt: of this charge the provider makes one, even if we ask it twice.
    let key = execution.child_key("charge");
    let work = service.clone().charge(key, new.euros);
    let charge = execution.step("charge", work).await?;
    service.crash.here(Crash::AfterStep);

    let attempt = execution.attempt();
    let insert = service.database.transaction(move |connection| {
        let insert = "insert into bookings (room, charge) values (?1, ?2)";
        let mut insert = connection.prepare_cached(insert)?;
        Ok(Booking {
            id: insert.insert([&new.room, &charge.id])?,
            room: new.room,
            charge: charge.id,
            attempt,
        })
    });
    let answer = |booking| (StatusCode::CREATED, Json(booking));
    Ok(execution.commit_then(insert, answer).await?)
}

#[derive(Clone, Debug)]
struct Service {
    database: SqliteDatabase,
    client: reqwest::Client,
    provider: String,
    crash: Crash,
}

impl Service {
    async fn charge(self, key: String, euros: u32) -> Result<Charge, StatusCode> {
        let charge = self.ask_provider(&key, euros).await.map_err(|error| {
            eprintln!("the payment provider: {error}");
            // Not stored, and the key comes free: the client can ask again, and the provider then gets the same key.
            StatusCode::BAD_GATEWAY
        })?;
        self.crash.here(Crash::InStep);
        Ok(charge)
    }

    async fn ask_provider(&self, key: &str, euros: u32) -> reqwest::Result<Charge> {
        let request = self.client.post(format!("{}/charges", self.provider));
        let answer = request.header("Idempotency-Key", key).json(&euros).send();
        answer.await?.error_for_status()?.json().await
    }
}

/// Bookings and keys are in one file, so that one commit can write both.
pub(crate) async fn open(file: &Path) -> Result<SqliteDatabase, SqliteStoreError> {
    let database = SqliteDatabase::open(file)?;
    database
        .write(|connection| {
            connection.execute_batch(
                "create table if not exists bookings (id integer primary key, room text not null, charge text not null)",
            )
        })
        .await?;
    Ok(database)
}

/// The store is an argument, so that a test can interrupt its calls.
pub(crate) fn app(
    database: SqliteDatabase,
    store: impl Store,
    provider: String,
    crash: Crash,
) -> Router {
    Router::new()
        .route("/bookings", post(book))
        .layer(Extension(Idempotency::new(store)))
        .with_state(Service {
            database,
            client: reqwest::Client::new(),
            provider,
            crash,
        })
}
