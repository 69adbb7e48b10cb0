//! The handlers of bookings.

mod booking_id;
pub(crate) mod by_key;
mod page;
mod validation;

use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use idempotency::{Execution, Options, idempotent, options::RunMode};

use crate::{
    app::App,
    booking::{Booking, Change, NewBooking},
    caller::Caller,
    error::ApiError,
    faults::Faults,
    json::Valid,
    openapi::Document,
};
use booking_id::BookingId;
use page::Page;

/// Makes a booking.
///
/// Send an `Idempotency-Key` of your own. If no response arrives, send the same request with the same key again: there is one
/// booking, and every retry receives the first response.
#[utoipa::path(
    post,
    path = "/bookings",
    tag = "bookings",
    request_body = NewBooking,
    responses((
        status = CREATED,
        description = "The booking is made.",
        body = Booking,
        headers(("Location" = String, description = "The path of the booking.")),
        links(
            ("show" = (operation_id = "show_booking", parameters(("id" = "$response.body#/id")))),
            ("replace" = (operation_id = "replace_booking", parameters(("id" = "$response.body#/id")))),
            ("change" = (operation_id = "change_booking", parameters(("id" = "$response.body#/id")))),
            ("delete" = (operation_id = "delete_booking", parameters(("id" = "$response.body#/id")))),
        ),
    )),
)]
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
    let response = app.bookings.insert(booking, &execution, response).await?;
    faults.inject_after();
    Ok(response)
}

/// Lists bookings, newest first.
///
/// Follow the `Link` field with `rel="next"` for the next page. Bookings of other subjects are not listed.
#[utoipa::path(
    get,
    path = "/bookings",
    tag = "bookings",
    params(Page),
    responses((
        status = OK,
        description = "One page of bookings.",
        body = [Booking],
        headers(("Link" = String, description = "Where the next page is, if there is one.")),
    )),
)]
pub(crate) async fn list_bookings(
    State(app): State<App>,
    caller: Caller,
    page: Page,
) -> Result<Response, ApiError> {
    // One more than requested shows whether there is another page.
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

/// Shows a booking.
///
/// The id is in the body and the `Location` field of the response that made the booking. A booking of another subject gets 404, like
/// one that does not exist.
#[utoipa::path(
    get,
    path = "/bookings/{id}",
    tag = "bookings",
    params(("id" = uuid::Uuid, Path, description = "The id of the booking.")),
    responses((status = OK, description = "The booking.", body = Booking)),
)]
pub(crate) async fn show_booking(
    State(app): State<App>,
    caller: Caller,
    BookingId(id): BookingId,
) -> Result<Response, ApiError> {
    Ok(shown(app.bookings.get(id, &caller.whose()).await?))
}

/// Replaces a booking: sets every member that clients can set, except the status.
///
/// A retry with the same key does not undo a change made in the meantime: it receives the first response.
#[utoipa::path(
    put,
    path = "/bookings/{id}",
    tag = "bookings",
    params(("id" = uuid::Uuid, Path, description = "The id of the booking.")),
    request_body = NewBooking,
    responses((status = OK, description = "The booking as it is now.", body = Booking)),
)]
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
    let response = change.await?;
    faults.inject_after();
    Ok(response)
}

/// Changes a booking: sets the members that are sent, at least one.
///
/// To cancel a booking and keep it, set its status to `cancelled`.
#[utoipa::path(
    patch,
    path = "/bookings/{id}",
    tag = "bookings",
    params(("id" = uuid::Uuid, Path, description = "The id of the booking.")),
    request_body = Change,
    responses((status = OK, description = "The booking as it is now.", body = Booking)),
)]
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
    let response = change.await?;
    faults.inject_after();
    Ok(response)
}

/// Removes a booking.
///
/// A retry with the same key receives 204 again. A new request for a removed booking receives 404.
#[utoipa::path(
    delete,
    path = "/bookings/{id}",
    tag = "bookings",
    params(("id" = uuid::Uuid, Path, description = "The id of the booking.")),
    responses((status = NO_CONTENT, description = "The booking is removed.")),
)]
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
    let response = remove.await?;
    faults.inject_after();
    Ok(response)
}

/// Lists the methods of bookings, and which of them take a key.
///
/// The policy of each such method is the `x-idempotency` of its operation in `/openapi.json`.
#[utoipa::path(
    options,
    path = "/bookings",
    tag = "bookings",
    responses((
        status = OK,
        description = "The methods, and the policy of each that takes an idempotency key.",
        body = Object,
        headers(("Allow" = String, description = "The methods."), ("Link" = String, description = "Where the rules are described.")),
        example = json!({"idempotency": {"POST": {"header": "Idempotency-Key", "required": false, "ttl_seconds": 3600}}}),
    )),
)]
pub(crate) async fn options_of_bookings(Extension(document): Extension<Document>) -> Response {
    document.options("/bookings")
}

/// Lists the methods of a booking, and which of them take a key.
///
/// The response is the same for every id, including one that does not exist.
#[utoipa::path(
    options,
    path = "/bookings/{id}",
    tag = "bookings",
    params(("id" = String, Path, description = "Any segment; the response does not depend on it.")),
    responses((
        status = OK,
        description = "The methods, and the policy of each that takes an idempotency key.",
        body = Object,
        headers(("Allow" = String, description = "The methods."), ("Link" = String, description = "Where the rules are described.")),
        example = json!({"idempotency": {"PATCH": {"header": "Idempotency-Key", "required": false, "ttl_seconds": 86_400}}}),
    )),
)]
pub(crate) async fn options_of_booking(Extension(document): Extension<Document>) -> Response {
    document.options("/bookings/{id}")
}

/// The operations with keys, and the options of their attributes.
pub(crate) fn protected(mode: RunMode) -> [(&'static str, Options); 4] {
    [
        ("create_booking", *create_booking.mode(mode).options()),
        ("replace_booking", *replace_booking.mode(mode).options()),
        ("change_booking", *change_booking.mode(mode).options()),
        ("delete_booking", *delete_booking.mode(mode).options()),
    ]
}

/// The booking, if there is one.
fn shown(booking: Option<Booking>) -> Response {
    match booking {
        Some(booking) => Json(booking).into_response(),
        None => ApiError::UnknownBooking.into_response(),
    }
}
