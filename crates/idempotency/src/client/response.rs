use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{AGE, DATE},
};
use serde::de::DeserializeOwned;

use super::{exchange::Received, intent_record::Expiry, moment::Moment, retry_after};

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const EXPIRES: HeaderName = HeaderName::from_static("idempotency-expires");
const PROBLEM: HeaderName = HeaderName::from_static("idempotency-problem");

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    expiry: Option<Expiry>,
    attempts: u32,
}

impl Response {
    pub(super) fn new(received: Received, now: Moment, attempts: u32) -> Self {
        let Received {
            status,
            headers,
            body,
            ..
        } = received;
        let lifetime = retry_after::from_now(&headers, &EXPIRES, now.wall);
        // A cache in between may have kept it for a while, with its date.
        let lifetime = lifetime.map(|lifetime| lifetime.saturating_sub(age(&headers)));
        let expires_at = lifetime.and_then(|lifetime| now.wall.checked_add(lifetime));
        Self {
            expiry: expires_at.map(|expires_at| Expiry {
                told_at: now.wall,
                told_here: Some(now),
                expires_at,
            }),
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
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expiry.map(|expiry| expiry.expires_at)
    }

    pub(super) const fn expiry(&self) -> Option<Expiry> {
        self.expiry
    }

    /// Whether its expiry does not depend on how far the clocks of the two machines differ.
    pub(super) fn has_date(&self) -> bool {
        retry_after::date(&self.headers, &DATE).is_some()
    }

    /// The code of the library's refusal. A service that makes its own bodies, or a proxy that replaces them, leaves the field.
    pub(super) fn problem(&self) -> Option<&str> {
        self.headers.get(PROBLEM)?.to_str().ok()
    }

    /// How many attempts this call of [`send`](super::RetryingClient::send) has made.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Whether it refuses this attempt, and is not what the service has stored for the operation.
    pub(super) fn is_refusal(&self) -> bool {
        // After 303 the operation is done. Another redirect may be a proxy's, to a page where a person signs in.
        let is_elsewhere = self.status.is_redirection() && self.status != StatusCode::SEE_OTHER;
        let is_error = self.status.is_client_error() || self.status.is_server_error();
        (is_elsewhere || is_error || self.problem().is_some()) && !self.is_stored()
    }

    /// Whether each retry gets it again.
    pub(super) fn is_stored(&self) -> bool {
        self.is_replayed() || self.headers.contains_key(EXPIRES)
    }
}

fn age(headers: &HeaderMap) -> Duration {
    let age = headers.get(AGE).and_then(|age| age.to_str().ok());
    let seconds = age.and_then(|age| age.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}
