//! The service under load: bookings with and without protection.

use axum::{
    Extension, Json, Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::Response,
    routing::post,
};
use idempotency::{CommitError, Execution, Idempotency, idempotent};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::bookings::Bookings;

/// The handler alone.
pub(crate) const BARE: &str = "/bare";
/// The same with the attribute.
pub(crate) const PROTECTED: &str = "/protected";
/// The same, and the booking is committed with its key.
pub(crate) const TRANSACTIONAL: &str = "/transactional";
/// The handler alone, over a database that commits each booking by itself.
pub(crate) const ALONE: &str = "/alone";

#[derive(Deserialize)]
struct NewBooking {
    service_id: String,
    customer_name: String,
    date: String,
    time: String,
}

#[derive(Clone, Serialize)]
pub(crate) struct Booking {
    pub(crate) id: Uuid,
    pub(crate) service_id: String,
    pub(crate) customer_name: String,
    pub(crate) date: String,
    pub(crate) time: String,
}

type Created = (StatusCode, [(HeaderName, String); 1], Json<Booking>);

pub(crate) fn router(bookings: Bookings, idempotency: Idempotency) -> Router {
    Router::new()
        .route(PROTECTED, post(protected))
        .route(TRANSACTIONAL, post(transactional))
        .layer(Extension(idempotency))
        // Outside of the layer, so that this handler costs what it costs without this library.
        .route(BARE, post(bare))
        .with_state(bookings)
}

pub(crate) fn router_alone(bookings: Bookings) -> Router {
    Router::new().route(ALONE, post(bare)).with_state(bookings)
}

async fn bare(
    State(bookings): State<Bookings>,
    Json(new): Json<NewBooking>,
) -> Result<Created, StatusCode> {
    book(&bookings, new).await
}

#[idempotent(ttl_seconds = 3600)]
async fn protected(
    State(bookings): State<Bookings>,
    Json(new): Json<NewBooking>,
) -> Result<Created, StatusCode> {
    book(&bookings, new).await
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn transactional(
    State(bookings): State<Bookings>,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    let Some(booking) = new.booking() else {
        let refused = CommitError::Failed("a booking that is not valid".into());
        return Err(refused);
    };
    let reply = created(booking.clone());
    bookings.commit(booking, &execution, reply).await
}

async fn book(bookings: &Bookings, new: NewBooking) -> Result<Created, StatusCode> {
    let booking = new.booking().ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    let inserted = bookings.insert(booking.clone()).await;
    inserted.map_err(|error| {
        eprintln!("{error}");
        StatusCode::INTERNAL_SERVER_ERROR
    })?;
    Ok(created(booking))
}

fn created(booking: Booking) -> Created {
    let location = [(header::LOCATION, format!("/bookings/{}", booking.id))];
    (StatusCode::CREATED, location, Json(booking))
}

impl NewBooking {
    fn booking(self) -> Option<Booking> {
        self.is_valid().then(|| Booking {
            id: Uuid::now_v7(),
            service_id: self.service_id,
            customer_name: self.customer_name,
            date: self.date,
            time: self.time,
        })
    }

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
