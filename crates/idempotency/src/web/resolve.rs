//! An operator's answer in place of a handler's.

use axum::response::Response;
use bytes::Bytes;

use super::saved_response;
use crate::Idempotency;

impl Idempotency {
    /// What would have been kept of a handler's answer: an outcome to [`resolve`](Self::resolve) with.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{http::StatusCode, response::IntoResponse};
    /// use idempotency::{Idempotency, store::{IfOwner, Record, Resolution}};
    ///
    /// /// The booking was made, as its table says, so every retry shall get the answer that it has not had.
    /// async fn it_was_booked(
    ///     idempotency: &Idempotency,
    ///     seen: &Record,
    ///     id: u64,
    /// ) -> Result<IfOwner<()>, Box<dyn std::error::Error>> {
    ///     let location = [("location", format!("/bookings/{id}"))];
    ///     let answer = (StatusCode::CREATED, location, "booked").into_response();
    ///     let outcome = idempotency.outcome_of_response(answer).await?;
    ///     let ttl = Duration::from_secs(24 * 3600);
    ///     Ok(idempotency.resolve(seen, Resolution::Complete { outcome, ttl }).await?)
    /// }
    /// ```
    ///
    /// It is kept whatever its status. Otherwise the rules are those for handlers: secrets and what belongs to one
    /// exchange are left out, and a body above [`with_max_stored_body`](crate::HttpConfig::with_max_stored_body), 1 MiB by default, or above
    /// what the store can keep, or one that has not ended after 10 seconds, leaves a tombstone, which tells clients that the answer was not stored.
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
