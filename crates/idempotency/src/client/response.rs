use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use serde::de::DeserializeOwned;

use super::{exchange::Received, retry_after};

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const EXPIRES: HeaderName = HeaderName::from_static("idempotency-expires");

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    expires_at: Option<SystemTime>,
    attempts: u32,
}

impl Response {
    pub(super) fn new(received: Received, now: SystemTime, attempts: u32) -> Self {
        let Received {
            status,
            headers,
            body,
            ..
        } = received;
        let lifetime = retry_after::from_now(&headers, &EXPIRES, now);
        Self {
            expires_at: lifetime.and_then(|lifetime| now.checked_add(lifetime)),
            status,
            headers,
            body,
            attempts,
        }
    }

    /// Its status. A 4xx is a response, too: the service has refused the operation, and no earlier attempt may have done it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its header fields.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its whole body.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its body, read as JSON.
    ///
    /// # Errors
    ///
    /// If the body is not JSON of this type. The operation took effect all the same, if the status says so.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.body)
    }

    /// Whether it is that of an earlier attempt, which the service has stored: `Idempotent-Replayed: true`.
    #[must_use]
    pub fn is_replayed(&self) -> bool {
        let marker = self.headers.get(REPLAYED);
        marker.is_some_and(|marker| marker.as_bytes().eq_ignore_ascii_case(b"true"))
    }

    /// Until when the service repeats it, by this machine's clock: `Idempotency-Expires`.
    #[must_use]
    pub const fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// How many attempts this call of [`send`](super::RetryingClient::send) has made.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether it refuses this attempt, and is not what the service has stored for the operation.
    pub(super) fn is_refusal(&self) -> bool {
        (self.status.is_client_error() || self.status.is_server_error()) && !self.is_stored()
    }

    /// Whether each retry gets it again.
    pub(super) fn is_stored(&self) -> bool {
        self.is_replayed() || self.headers.contains_key(EXPIRES)
    }
}
