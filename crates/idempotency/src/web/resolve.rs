//! Lets an operator store a response in place of the handler's.

use axum::response::Response;
use bytes::Bytes;

use super::saved_response;
use crate::Idempotency;

impl Idempotency {
    /// Makes the outcome that would have been stored for a handler's response, for [`resolve`](Self::resolve).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{http::StatusCode, response::IntoResponse};
    /// use idempotency::{Idempotency, store::{IfOwner, Record, Resolution}};
    ///
    /// The bookings table shows that the booking was made, so every retry gets the response that is missing.
    /// async fn it_was_booked(
    ///     idempotency: &Idempotency,
    ///     seen: &Record,
    ///     id: u64,
    /// ) -> Result<IfOwner<()>, Box<dyn std::error::Error>> {
    ///     let location = [("location", format!("/bookings/{id}"))];
    ///     let response = (StatusCode::CREATED, location, "booked").into_response();
    ///     let outcome = idempotency.outcome_of_response(response).await?;
    ///     let ttl = Duration::from_secs(24 * 3600);
    ///     Ok(idempotency.resolve(seen, Resolution::Complete { outcome, ttl }).await?)
    /// }
    /// ```
    ///
    /// The response is stored whatever its status. Otherwise the rules for handlers apply: secrets and fields of one
    /// exchange are left out. A body above [`with_max_stored_body`](crate::HttpConfig::with_max_stored_body), 1 MiB by
    /// default, or above the store's limit, or one that has not ended after 10 seconds, leaves a tombstone, which tells
    /// clients that the response was not stored.
    ///
    /// # Errors
    ///
    /// If the body breaks off.
    pub async fn outcome_of_response(&self, response: Response) -> Result<Bytes, axum::Error> {
        let limit = self.store().outcome_limit();
        let (_, outcome) = saved_response::save(self.http(), limit, response).await?;
        Ok(outcome)
    }
}
