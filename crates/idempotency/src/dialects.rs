//! Settings for services whose clients expect the refusals of an established protocol, in place of the draft's.
//!
//! ```
//! use idempotency::{Idempotency, MemoryStore, dialects};
//!
//! let idempotency = Idempotency::builder(MemoryStore::new())
//!     .with_http(dialects::stripe())
//!     .with_defaults(dialects::STRIPE)
//!     .build();
//! ```
//!
//! | | [`stripe`] and [`STRIPE`] | [`agentic_commerce`] and [`AGENTIC_COMMERCE`] | [`universal_commerce`] and [`UNIVERSAL_COMMERCE`] |
//! |---|---|---|---|
//! | Clients of | Stripe's API, v1 | the Agentic Commerce Protocol | the Universal Commerce Protocol, REST |
//! | No key | runs | 400 `idempotency_key_required` | runs |
//! | Another request under the key | 400 `idempotency_error` | 422 `idempotency_conflict` | 409 |
//! | The first one still runs | 409 `idempotency_key_in_use` | 409 `idempotency_in_flight` | 409 |
//! | 5xx | stored and replayed | not stored | not stored |
//! | Equal bodies | as JSON | as JSON | byte for byte |
//! | Body of a refusal | `{"error": {"type", "code", "message"}}` | `{"type", "code", "message"}` | `{"code", "content"}` |
//!
//! What is not in this table is as everywhere in this library: keys with and without quotes, and `Idempotent-Replayed: true` on replays.
//! Both halves have to be set. Other options go on top: `dialects::STRIPE.ttl(…)`.
//!
//! # What they leave to the application
//!
//! - Errors that may be temporary, such as 401, 404 and 429, are not stored. Stripe and the catalog of Apache Iceberg
//!   repeat an operation's 404 too: such a response needs [`Disposition::Store`](crate::Disposition::Store).
//! - The Agentic Commerce Protocol wants the key repeated in each response to a POST, and the same key at two paths to be two keys. Here a key
//!   at another path is another request under the key: 422.
//! - The Universal Commerce Protocol says nothing about a request whose first attempt still runs. Clients that retry a 409 get the response later.
//! - The catalog of Apache Iceberg needs no settings here, but it says in its configuration how long keys live:
//!   `idempotency-key-lifetime`. It does not say what a refusal looks like.
//! - OASIS Repeatable Requests, of Azure, is not here: the library does not judge `Repeatability-First-Sent`, and does not write
//!   `Repeatability-Result`.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use serde_json::{Value, json};

use crate::{HttpConfig, Options, options::Keep};

/// For [`stripe`]: all responses are stored, also those of status 500.
pub const STRIPE: Options = Options::new().keep(Keep::All);

/// For [`agentic_commerce`]: a key is required.
pub const AGENTIC_COMMERCE: Options = Options::new().required();

/// For [`universal_commerce`]: bodies are equal if their bytes are.
pub const UNIVERSAL_COMMERCE: Options = Options::new().fingerprint(bytes);

/// Refuses as Stripe's API does. Needs [`STRIPE`] too.
#[must_use]
pub fn stripe() -> HttpConfig {
    HttpConfig::new().with_rejection_response(|rejection| {
        let (status, kind, code) = match rejection.code() {
            REUSED => (StatusCode::BAD_REQUEST, "idempotency_error", REUSED),
            IN_PROGRESS => (
                rejection.status(),
                "invalid_request_error",
                "idempotency_key_in_use",
            ),
            code if rejection.status().is_server_error() => (rejection.status(), "api_error", code),
            code => (rejection.status(), "invalid_request_error", code),
        };
        let error = json!({ "type": kind, "code": code, "message": rejection.detail() });
        refusal(status, &json!({ "error": error }))
    })
}

/// Refuses as the Agentic Commerce Protocol wants it. Needs [`AGENTIC_COMMERCE`] too.
#[must_use]
pub fn agentic_commerce() -> HttpConfig {
    HttpConfig::new().with_rejection_response(|rejection| {
        let code = match rejection.code() {
            MISSING => "idempotency_key_required",
            REUSED => "idempotency_conflict",
            IN_PROGRESS => "idempotency_in_flight",
            other => other,
        };
        let kind = match rejection.status() {
            StatusCode::SERVICE_UNAVAILABLE => "service_unavailable",
            status if status.is_server_error() => "processing_error",
            _ => "invalid_request",
        };
        let error = json!({ "type": kind, "code": code, "message": rejection.detail() });
        refusal(rejection.status(), &error)
    })
}

/// Refuses as the Universal Commerce Protocol wants it. Needs [`UNIVERSAL_COMMERCE`] too.
#[must_use]
pub fn universal_commerce() -> HttpConfig {
    HttpConfig::new().with_rejection_response(|rejection| {
        let status = match rejection.code() {
            REUSED => StatusCode::CONFLICT,
            _ => rejection.status(),
        };
        let error = json!({ "code": rejection.code(), "content": rejection.detail() });
        refusal(status, &error)
    })
}

const MISSING: &str = "idempotency_key_missing";
const REUSED: &str = "idempotency_key_reused";
const IN_PROGRESS: &str = "idempotency_in_progress";

fn refusal(status: StatusCode, body: &Value) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    (status, json, body.to_string()).into_response()
}

fn bytes(_: &Parts, body: &Bytes) -> Vec<u8> {
    body.to_vec()
}
