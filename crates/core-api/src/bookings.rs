//! The handlers of bookings.

mod booking_id;
mod page;
mod validation;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use idempotency::{Execution, idempotent};

use crate::{
    app::App,
    booking::{Booking, Change, NewBooking},
    caller::Caller,
    error::ApiError,
    faults::Faults,
    json::Valid,
};
use booking_id::BookingId;
use page::Page;

/// `POST /bookings`
#[idempotent(ttl_seconds = 3600, transactional)]
pub(crate) async fn create_booking(
    State(app): State<App>,
    caller: Caller,
    faults: Faults,
    execution: Execution,
    Valid(new): Valid<NewBooking>,
) -> Result<Response, ApiError> {
    faults.inject().await?;
    let owner = caller.subject().map(|subject| subject.as_str().into());
    let booking = new.confirmed(owner);
    let location = [(header::LOCATION, format!("/bookings/{}", booking.id))];
    let response = (StatusCode::CREATED, location, Json(&booking)).into_response();
    Ok(app.bookings.insert(booking, &execution, response).await?)
}

/// `GET /bookings`, newest first.
pub(crate) async fn list_bookings(
    State(app): State<App>,
    caller: Caller,
    page: Page,
) -> Result<Response, ApiError> {
    // One more than asked for tells whether there is another page.
    let whose = caller.whose();
    let list = app.bookings.list(&whose, page.after, page.limit + 1);
    let mut bookings = list.await?;
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
    caller: Caller,
    BookingId(id): BookingId,
) -> Result<Response, ApiError> {
    Ok(shown(app.bookings.get(id, &caller.whose()).await?))
}

/// `PUT /bookings/{id}`: sets every member that clients can set.
#[idempotent(transactional)]
pub(crate) async fn replace_booking(
    State(app): State<App>,
    caller: Caller,
    BookingId(id): BookingId,
    faults: Faults,
    execution: Execution,
    Valid(new): Valid<NewBooking>,
) -> Result<Response, ApiError> {
    faults.inject().await?;
    let bookings = &app.bookings;
    let change = bookings.change(id, caller.whose(), new.into(), &execution, shown);
    Ok(change.await?)
}

/// `PATCH /bookings/{id}`
#[idempotent(transactional)]
pub(crate) async fn change_booking(
    State(app): State<App>,
    caller: Caller,
    BookingId(id): BookingId,
    faults: Faults,
    execution: Execution,
    Valid(change): Valid<Change>,
) -> Result<Response, ApiError> {
    faults.inject().await?;
    let bookings = &app.bookings;
    let change = bookings.change(id, caller.whose(), change, &execution, shown);
    Ok(change.await?)
}

/// `DELETE /bookings/{id}`
#[idempotent(transactional)]
pub(crate) async fn delete_booking(
    State(app): State<App>,
    caller: Caller,
    BookingId(id): BookingId,
    faults: Faults,
    execution: Execution,
) -> Result<Response, ApiError> {
    faults.inject().await?;
    let respond = |was_there| {
        if was_there {
            StatusCode::NO_CONTENT.into_response()
        } else {
            ApiError::UnknownBooking.into_response()
        }
    };
    let remove = app.bookings.remove(id, caller.whose(), &execution, respond);
    Ok(remove.await?)
}

/// The booking, if there is one.
fn shown(booking: Option<Booking>) -> Response {
    match booking {
        Some(booking) => Json(booking).into_response(),
        None => ApiError::UnknownBooking.into_response(),
    }
}
