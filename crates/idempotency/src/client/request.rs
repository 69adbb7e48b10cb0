//! The request of an intent: sendable as often as needed, and comparable with that of an earlier process.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header::CONTENT_TYPE};
use reqwest::{Request, RequestBuilder};

use super::error::SendError;
use crate::{
    IdempotencyKey,
    fingerprint::{canonical_json, digest},
};

pub(super) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request whose body is in memory, without a key.
#[derive(Debug)]
pub(super) struct RepeatableRequest(Request);

/// What is asked for: all that makes it a different request for the service, as far as the client knows.
#[derive(Clone, Debug)]
pub(super) struct RequestForm {
    method: String,
    url: String,
    media_type: Vec<u8>,
    body: Vec<u8>,
}

impl RepeatableRequest {
    pub(super) fn new(builder: RequestBuilder) -> Result<Self, SendError> {
        let request = builder.build();
        let request = request.map_err(|error| SendError::InvalidRequest(error.without_url()))?;
        if request.headers().contains_key(KEY) {
            return Err(SendError::KeyInRequest);
        }
        match request.body().map(|body| body.as_bytes()) {
            Some(None) => Err(SendError::BodyNotRepeatable),
            None | Some(Some(_)) => Ok(Self(request)),
        }
    }

    pub(super) fn form(&self) -> RequestForm {
        let mut url = self.0.url().clone();
        url.set_fragment(None);
        let media_type = self.0.headers().get(CONTENT_TYPE);
        let media_type = media_type.map(HeaderValue::as_bytes).unwrap_or_default();
        let media_type = media_type.to_ascii_lowercase();
        let body = self.0.body().and_then(|body| body.as_bytes());
        let body = body.unwrap_or_default();
        // An application that makes its JSON anew after a crash may order the members differently, which the service
        // does not see as a difference either.
        let is_json = media_type.windows(4).any(|letters| letters == b"json");
        let canonical = is_json.then(|| canonical_json(body)).flatten();
        RequestForm {
            method: self.0.method().to_string(),
            url: url.into(),
            media_type,
            body: canonical.unwrap_or_else(|| body.to_vec()),
        }
    }

    /// The limit that the application has set for this request's attempts.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.0.timeout().copied()
    }

    pub(super) fn set_key(&mut self, key: &IdempotencyKey) {
        let value = HeaderValue::from_str(&key.to_field_value());
        let mut value = value.expect("a key is printable");
        value.set_sensitive(true);
        self.0.headers_mut().insert(KEY, value);
    }

    /// The same head and bytes each time.
    pub(super) fn repeat(&self) -> Request {
        let request = self.0.try_clone();
        request.expect("its body is in memory")
    }
}

impl RequestForm {
    /// A digest that says nothing about the request to a reader who does not know the key.
    pub(super) fn digest(&self, key: &IdempotencyKey) -> [u8; 32] {
        digest([
            b"intent 1".as_slice(),
            key.expose().as_bytes(),
            self.method.as_bytes(),
            self.url.as_bytes(),
            &self.media_type,
            &self.body,
        ])
    }
}
