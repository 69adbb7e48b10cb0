//! A limit on long responses, which occupy memory until their clients have read them.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use tokio::{sync::Semaphore, time::timeout};

use crate::error::ApiError;

/// How many pages of bookings are in memory at most: a quarter of a megabyte each.
pub(crate) const MAX_PAGES: usize = 64;

/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes a request wait for its turn. The turn ends when the response has been read or dropped.
pub(crate) async fn limit(
    State(turns): State<Arc<Semaphore>>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(Ok(turn)) = timeout(TURN_TIMEOUT, turns.acquire_owned()).await else {
        return ApiError::Busy.into_response();
    };
    let response = next.run(request).await;
    response.map(|body| {
        Body::new(body.map_err(move |error| {
            // The body owns this closure, and with it the turn, until it is dropped.
            let _ = &turn;
            error
        }))
    })
}
