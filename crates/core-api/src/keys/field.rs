//! The key of a question about it.

use axum::http::{HeaderMap, HeaderName};
use idempotency::{IdempotencyKey, key::KeySyntax};

pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The key of the field, which may not be in the path: paths are logged. If there is none, what is wrong.
pub(crate) fn key_in(headers: &HeaderMap) -> Result<IdempotencyKey, &'static str> {
    let mut lines = headers.get_all(KEY).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err("Send the key in one header field Idempotency-Key.");
    };
    IdempotencyKey::from_field_value(line.as_bytes(), KeySyntax::QuotedOrBare)
        .map_err(|_| "The Idempotency-Key is not a valid key.")
}
