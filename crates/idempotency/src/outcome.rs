use bytes::{Buf, Bytes};
use serde::Serialize;

use crate::{log_text::Causes, store::StoreError};

/// A handler's decision whether its response is stored, as an extension of the response. It takes precedence over every
/// rule.
///
/// ```
/// use axum::{Extension, http::StatusCode, response::IntoResponse};
/// use idempotency::Disposition;
///
/// async fn pay() -> impl IntoResponse {
///     // The charge went out, then something failed: a retry must not charge again.
///     (StatusCode::INTERNAL_SERVER_ERROR, Extension(Disposition::Store), "charged, receipt failed")
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// Store the response and replay it, whatever its status.
    Store,
    /// Store nothing: the next request with this key runs.
    Release,
    /// Store that the request is done, and nothing of its response but `Location`: retries get the problem
    /// `response-not-stored`, with that `Location`, and never run. For a response that holds a secret which must not be
    /// replayed, such as a new token. If the `Location` itself is one, such as a presigned URL, leave it out or rebuild the
    /// response: see `replay` of [`#[idempotent]`](crate::idempotent).
    Tombstone,
}

/// The outcome of a run, as the engine reads it from a store's bytes.
///
/// The bytes begin with a version and a kind. An unknown version is an error and never means that the key is free:
/// during a rolling deployment both versions see each other's records.
#[derive(Debug)]
#[cfg_attr(
    not(feature = "axum"),
    expect(dead_code, reason = "only HTTP uses what remains")
)]
pub(crate) enum StoredOutcome {
    /// The response, to be replayed.
    Response(Bytes),
    /// The work ran, but its response could not be stored; this is what remains of it.
    Tombstone(Bytes),
    /// A value of the handler, as JSON, from which its `replay` function rebuilds the response.
    ReplayValue(Bytes),
    /// It ran, and an operator has erased its response.
    Erased,
}

const VERSION: u8 = 1;
const RESPONSE: u8 = 1;
const TOMBSTONE: u8 = 2;
const ERASED: u8 = 3;
const REPLAY_VALUE: u8 = 4;

/// The start of a response's bytes, with room for `capacity` more.
pub(crate) fn response(capacity: usize) -> Vec<u8> {
    start(RESPONSE, capacity)
}

/// The start of a tombstone's bytes, with room for `capacity` more.
pub(crate) fn tombstone(capacity: usize) -> Vec<u8> {
    start(TOMBSTONE, capacity)
}

/// The outcome of a handler whose `replay` function rebuilds the response from this value.
#[cfg(feature = "axum")]
pub(crate) fn replay_value(json: &[u8]) -> Bytes {
    let mut bytes = start(REPLAY_VALUE, json.len());
    bytes.extend(json);
    bytes.into()
}

/// What is stored in place of an erased response.
pub(crate) fn erased() -> Bytes {
    start(ERASED, 0).into()
}

/// The outcome of work that produced this value. The work is done, so a value that cannot be stored becomes a
/// tombstone.
pub(crate) fn of_value<T: Serialize + ?Sized>(value: &T, limit: usize) -> Bytes {
    write_value(value, limit).unwrap_or_else(|error| {
        tracing::error!(
            error = %Causes(&error),
            "the value of a run cannot be serialized, so it cannot be replayed",
        );
        tombstone(0).into()
    })
}

/// The value as JSON, or a tombstone if it is too long for the store.
pub(crate) fn write_value<T: Serialize + ?Sized>(
    value: &T,
    limit: usize,
) -> serde_json::Result<Bytes> {
    let mut bytes = response(128);
    serde_json::to_writer(&mut bytes, value)?;
    if bytes.len() > limit {
        tracing::error!(
            bytes = bytes.len(),
            "the value of a run is too long for the store, so it cannot be replayed",
        );
        return Ok(tombstone(0).into());
    }
    Ok(bytes.into())
}

fn start(kind: u8, capacity: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2 + capacity);
    bytes.extend([VERSION, kind]);
    bytes
}

impl StoredOutcome {
    pub(crate) fn read(mut bytes: Bytes) -> Result<Self, StoreError> {
        match (bytes.try_get_u8(), bytes.try_get_u8()) {
            (Ok(VERSION), Ok(RESPONSE)) => Ok(Self::Response(bytes)),
            (Ok(VERSION), Ok(TOMBSTONE)) => Ok(Self::Tombstone(bytes)),
            (Ok(VERSION), Ok(ERASED)) => Ok(Self::Erased),
            (Ok(VERSION), Ok(REPLAY_VALUE)) => Ok(Self::ReplayValue(bytes)),
            (Ok(VERSION), _) => Err(StoreError::unreadable("the outcome is damaged")),
            _ => Err(StoreError::unreadable(
                "another version of this library wrote the outcome",
            )),
        }
    }
}
