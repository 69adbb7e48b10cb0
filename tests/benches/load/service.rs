//! The service under load: bookings with and without protection.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    routing::post,
};
use idempotency::{Idempotency, SqliteDatabase, idempotent};
use parking_lot::Mutex;
use rusqlite::params;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The handler alone.
pub(crate) const BARE: &str = "/bare";
/// The same with the attribute.
pub(crate) const PROTECTED: &str = "/protected";

/// Where bookings are kept.
#[derive(Clone)]
pub(crate) enum Bookings {
    Memory(Arc<Mutex<BTreeMap<Uuid, Booking>>>),
    Sqlite(SqliteDatabase),
}

#[derive(Deserialize)]
struct NewBooking {
    service_id: String,
    customer_name: String,
    date: String,
    time: String,
}

#[derive(Clone, Serialize)]
pub(crate) struct Booking {
    id: Uuid,
    service_id: String,
    customer_name: String,
    date: String,
    time: String,
}

type Created = (StatusCode, [(HeaderName, String); 1], Json<Booking>);

pub(crate) fn router(bookings: Bookings, idempotency: Idempotency) -> Router {
    Router::new()
        .route(BARE, post(bare))
        .route(PROTECTED, post(protected))
        .layer(Extension(idempotency))
        .with_state(bookings)
}

async fn bare(
    State(bookings): State<Bookings>,
    Json(new): Json<NewBooking>,
) -> Result<Created, StatusCode> {
    bookings.book(new).await
}

#[idempotent(ttl_seconds = 3600)]
async fn protected(
    State(bookings): State<Bookings>,
    Json(new): Json<NewBooking>,
) -> Result<Created, StatusCode> {
    bookings.book(new).await
}

impl Bookings {
    /// Makes the table.
    pub(crate) async fn in_file(database: SqliteDatabase) -> Self {
        let create = "create table bookings (id text primary key, service_id text not null, \
             customer_name text not null, date text not null, time text not null) strict, without rowid";
        let created = database.write(|connection| connection.execute_batch(create));
        created.await.expect("a new table");
        Self::Sqlite(database)
    }

    async fn book(&self, new: NewBooking) -> Result<Created, StatusCode> {
        if !new.is_valid() {
            return Err(StatusCode::UNPROCESSABLE_ENTITY);
        }
        let booking = Booking {
            id: Uuid::now_v7(),
            service_id: new.service_id,
            customer_name: new.customer_name,
            date: new.date,
            time: new.time,
        };
        let kept = booking.clone();
        match self {
            Self::Memory(bookings) => drop(bookings.lock().insert(kept.id, kept)),
            Self::Sqlite(database) => database
                .write(move |connection| {
                    let insert = "insert into bookings values (?1, ?2, ?3, ?4, ?5)";
                    connection.prepare_cached(insert)?.execute(params![
                        kept.id.to_string(),
                        kept.service_id,
                        kept.customer_name,
                        kept.date,
                        kept.time,
                    ])
                })
                .await
                .map(drop)
                .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?,
        }
        let location = [(header::LOCATION, format!("/bookings/{}", booking.id))];
        Ok((StatusCode::CREATED, location, Json(booking)))
    }
}

impl NewBooking {
    fn is_valid(&self) -> bool {
        let texts = [&self.service_id, &self.customer_name];
        let of_digits = |text: &str, shape: &str| {
            text.len() == shape.len()
                && text
                    .bytes()
                    .zip(shape.bytes())
                    .all(|(byte, wanted)| match wanted {
                        b'0' => byte.is_ascii_digit(),
                        _ => byte == wanted,
                    })
        };
        texts
            .iter()
            .all(|text| (1..=200).contains(&text.trim().len()))
            && of_digits(&self.date, "0000-00-00")
            && of_digits(&self.time, "00:00")
    }
}
