//! The request of an intent: sendable as often as needed, and comparable with that of an earlier process.

use std::time::Duration;

use http::{
    HeaderName, HeaderValue,
    header::{CONTENT_TYPE, HOST},
};
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

/// The request: everything that makes it a different request for the service, as far as the client knows.
#[derive(Clone, Debug)]
pub(super) struct RequestForm {
    method: String,
    url: String,
    /// The fields that say for whom it is, besides credentials.
    tenant: Vec<(String, Vec<u8>)>,
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

    /// `compared` are the application's fields that make it another request.
    pub(super) fn form(&self, compared: &[HeaderName]) -> RequestForm {
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
            tenant: self.tenant(compared),
            media_type,
            body: canonical.unwrap_or_else(|| body.to_vec()),
        }
    }

    fn tenant(&self, compared: &[HeaderName]) -> Vec<(String, Vec<u8>)> {
        let fields = self.0.headers().iter();
        let mut tenant: Vec<_> = fields
            .filter(|(name, _)| compared.contains(name) || names_tenant(name))
            .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
            .collect();
        // The lines of one field keep their order.
        tenant.sort_by(|(one, _), (other, _)| one.cmp(other));
        tenant
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

/// `Host` is that of a service behind the URL's. The others are common names of a tenant; one that proves an identity may change.
fn names_tenant(name: &HeaderName) -> bool {
    const WORDS: [&str; 4] = ["account", "organization", "tenant", "workspace"];
    const SECRETS: [&str; 5] = ["auth", "key", "secret", "signature", "token"];
    let contains = |words: &[&str]| words.iter().any(|word| name.as_str().contains(word));
    *name == HOST || contains(&WORDS) && !contains(&SECRETS)
}

impl RequestForm {
    /// A digest that says nothing about the request to a reader who does not know the key.
    pub(super) fn digest(&self, key: &IdempotencyKey) -> [u8; 32] {
        let head = [
            b"intent 1".as_slice(),
            key.expose().as_bytes(),
            self.method.as_bytes(),
            self.url.as_bytes(),
            &self.media_type,
            &self.body,
        ];
        let tenant = self.tenant.iter();
        let tenant = tenant.flat_map(|(name, value)| [name.as_bytes(), value]);
        digest(head.into_iter().chain(tenant))
    }
}
