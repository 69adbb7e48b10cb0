//! Lets an operator read a handler's response, and store a response in its place.

use axum::response::Response;
use bytes::Bytes;

use super::{replay_with, saved_response};
use crate::{
    Idempotency, engine::read_stored, operators::StoredResponse, record::Record, store::StoreError,
};

impl Idempotency {
    /// Makes the outcome that would have been stored for a handler's response, for [`resolve`](Self::resolve).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use axum::{http::StatusCode, response::IntoResponse};
    /// use idempotency::{Idempotency, store::{IfOwner, Record, Resolution}};
    ///
    /// /// The bookings table shows that the booking was made, so every retry gets the response that is missing.
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
        let kind = replay_with::kind_of(&response);
        let (_, outcome) = saved_response::save(self.http(), limit, kind, response).await?;
        Ok(outcome)
    }

    /// Reads the response that a handler has left in this record, as a retry gets it: status, header fields and body. What belongs
    /// to one exchange, such as `Date` and `Idempotent-Replayed`, is not stored, and is not in it.
    ///
    /// ```
    /// use idempotency::{Idempotency, operators::StoredResponse, store::{Record, StoreError}};
    ///
    /// /// What the support desk reads.
    /// fn describe(idempotency: &Idempotency, seen: &Record) -> Result<String, StoreError> {
    ///     Ok(match idempotency.stored_response(seen)? {
    ///         StoredResponse::Kept(response) => {
    ///             format!("{} with {} bytes", response.status(), response.body().len())
    ///         }
    ///         StoredResponse::NotStored => "it took effect, and its response was not stored".into(),
    ///         StoredResponse::Erased => "it took effect, and its response was erased".into(),
    ///         _ => "it has not ended".into(),
    ///     })
    /// }
    /// ```
    ///
    /// The record does not tell whether a handler or `run` made it; for the value of `run`, [`stored_value`](Self::stored_value) is
    /// right. What it holds belongs to its caller: show it to those only who may see it.
    ///
    /// # Errors
    ///
    /// If another version of this library wrote it, or it is damaged.
    pub fn stored_response(
        &self,
        seen: &Record,
    ) -> Result<StoredResponse<http::Response<Bytes>>, StoreError> {
        Ok(match read_stored(seen)? {
            StoredResponse::Kept(saved) => StoredResponse::Kept(saved_response::read(saved)?),
            StoredResponse::ReplayValue(json) => StoredResponse::ReplayValue(json),
            StoredResponse::NotStored => StoredResponse::NotStored,
            StoredResponse::Erased => StoredResponse::Erased,
            StoredResponse::None => StoredResponse::None,
        })
    }
}
