//! The handlers of bookings, each below what it takes.

mod fields;
mod page;
mod validation;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, NaiveDate, NaiveTime, SubsecRound, Utc};
use idempotency::{Execution, idempotent};
use serde::Serialize;
use uuid::Uuid;

use crate::{app::App, error::ApiError, faults::Faults, json::Valid};
use page::Page;

pub(crate) use fields::BookingId;
pub(crate) use fields::Status;

/// What every answer shows of a booking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Booking {
    pub(crate) id: Uuid,
    pub(crate) service_id: String,
    pub(crate) customer_name: String,
    pub(crate) date: NaiveDate,
    #[serde(serialize_with = "fields::hours_and_minutes")]
    pub(crate) time: NaiveTime,
    pub(crate) status: Status,
    #[serde(serialize_with = "fields::milliseconds")]
    pub(crate) created_at: DateTime<Utc>,
}

/// What a client sends to book, or to replace a booking.
#[derive(Clone, Debug)]
pub(crate) struct NewBooking {
    pub(crate) service_id: String,
    pub(crate) customer_name: String,
    pub(crate) date: NaiveDate,
    pub(crate) time: NaiveTime,
}

/// `POST /bookings`
#[idempotent(ttl_seconds = 86400, transactional)]
pub(crate) async fn create_booking(
    State(app): State<App>,
    faults: Faults,
    execution: Execution,
    Valid(new): Valid<NewBooking>,
) -> Result<Response, ApiError> {
    faults.strike().await?;
    let booking = Booking {
        id: Uuid::now_v7(),
        service_id: new.service_id,
        customer_name: new.customer_name,
        date: new.date,
        time: new.time,
        status: Status::Confirmed,
        created_at: Utc::now().trunc_subsecs(3),
    };
    let location = [(header::LOCATION, format!("/bookings/{}", booking.id))];
    let answer = (StatusCode::CREATED, location, Json(&booking)).into_response();
    Ok(app.bookings.insert(booking, &execution, answer).await?)
}

/// `GET /bookings`, newest first.
pub(crate) async fn list_bookings(
    State(app): State<App>,
    page: Page,
) -> Result<Response, ApiError> {
    // One more than asked for tells whether there is another page.
    let mut bookings = app.bookings.list(page.after, page.limit + 1).await?;
    if bookings.len() <= page.limit.into() {
        return Ok(Json(bookings).into_response());
    }
    bookings.truncate(page.limit.into());
    let next = bookings.last().map(|last| page.next(last.id));
    let link = next.map(|next| [(header::LINK, next)]);
    Ok((link, Json(bookings)).into_response())
}

/// `GET /bookings/{id}`
pub(crate) async fn show_booking(
    State(app): State<App>,
    BookingId(id): BookingId,
) -> Result<Response, ApiError> {
    Ok(shown(app.bookings.get(id).await?))
}

/// `PUT /bookings/{id}`: everything that a client can say of a booking, anew.
#[idempotent(ttl_seconds = 86400, transactional)]
pub(crate) async fn replace_booking(
    State(app): State<App>,
    BookingId(id): BookingId,
    faults: Faults,
    execution: Execution,
    Valid(new): Valid<NewBooking>,
) -> Result<Response, ApiError> {
    faults.strike().await?;
    let replaced = app.bookings.change(id, new.into(), &execution, shown);
    Ok(replaced.await?)
}

/// What a client sends to change a booking: the members that are there.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) service_id: Option<String>,
    pub(crate) customer_name: Option<String>,
    pub(crate) date: Option<NaiveDate>,
    pub(crate) time: Option<NaiveTime>,
    pub(crate) status: Option<Status>,
}

/// `PATCH /bookings/{id}`
#[idempotent(ttl_seconds = 86400, transactional)]
pub(crate) async fn change_booking(
    State(app): State<App>,
    BookingId(id): BookingId,
    faults: Faults,
    execution: Execution,
    Valid(change): Valid<Change>,
) -> Result<Response, ApiError> {
    faults.strike().await?;
    let changed = app.bookings.change(id, change, &execution, shown);
    Ok(changed.await?)
}

/// `DELETE /bookings/{id}`
#[idempotent(ttl_seconds = 86400, transactional)]
pub(crate) async fn delete_booking(
    State(app): State<App>,
    BookingId(id): BookingId,
    faults: Faults,
    execution: Execution,
) -> Result<Response, ApiError> {
    faults.strike().await?;
    let answer = |removed| match removed {
        true => StatusCode::NO_CONTENT.into_response(),
        false => ApiError::UnknownBooking.into_response(),
    };
    Ok(app.bookings.remove(id, &execution, answer).await?)
}

/// The booking, if there is one.
fn shown(booking: Option<Booking>) -> Response {
    match booking {
        Some(booking) => Json(booking).into_response(),
        None => ApiError::UnknownBooking.into_response(),
    }
}

impl Booking {
    /// Takes over what a change has.
    pub(crate) fn apply(&mut self, change: Change) {
        let Change {
            service_id,
            customer_name,
            date,
            time,
            status,
        } = change;
        set(&mut self.service_id, service_id);
        set(&mut self.customer_name, customer_name);
        set(&mut self.date, date);
        set(&mut self.time, time);
        set(&mut self.status, status);
    }
}

impl From<NewBooking> for Change {
    fn from(new: NewBooking) -> Self {
        Self {
            service_id: Some(new.service_id),
            customer_name: Some(new.customer_name),
            date: Some(new.date),
            time: Some(new.time),
            status: None,
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}
