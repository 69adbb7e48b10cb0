//! A unit test calls the function itself: no key, no engine, and the types that were written.

#![deny(warnings)]

use axum::{Json, extract::State, http::StatusCode, response::Response};
use idempotency::idempotent;
use serde::Deserialize;

#[derive(Deserialize)]
struct New {
    name: String,
}

#[idempotent(ttl_seconds = 60)]
async fn create_booking(
    State(prefix): State<&'static str>,
    Json(new): Json<New>,
) -> Result<(StatusCode, String), StatusCode> {
    if new.name.is_empty() {
        Err(StatusCode::BAD_REQUEST)
    } else {
        Ok((StatusCode::CREATED, format!("{prefix}{}", new.name)))
    }
}

#[idempotent]
async fn opaque() -> impl Into<Response> + axum::response::IntoResponse {
    Response::default()
}

mod bookings {
    /// Named by its path.
    #[idempotency::idempotent]
    pub(super) async fn cancel(number: String) -> String {
        number
    }
}

struct Bookings;

impl Bookings {
    #[idempotent]
    async fn list() -> u8 {
        0
    }
}

#[tokio::test]
async fn a_unit_test_calls_the_function_that_was_written() {
    let new = |name: &str| Json(New { name: name.into() });
    assert_eq!(
        create_booking(State("Mr "), new("Ann")).await,
        Ok((StatusCode::CREATED, "Mr Ann".to_owned()))
    );
    assert_eq!(
        create_booking(State(""), new("")).await,
        Err(StatusCode::BAD_REQUEST)
    );
    let response: Response = opaque().await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(bookings::cancel("7".to_owned()).await, "7");
    assert_eq!(Bookings::list().await, 0);
}
