//! Retry-safe axum handlers: one attribute, and a client may send the same request as often as it likes
//! while it happens once.
//!
//! ```
//! use axum::{Extension, Json, Router, http::StatusCode, routing::post};
//! use idempotency::{Idempotency, MemoryStore, idempotent};
//! use serde_json::{Value, json};
//!
//! #[idempotent(ttl_seconds = 3600)]
//! async fn create_booking(Json(booking): Json<Value>) -> (StatusCode, Json<Value>) {
//!     (StatusCode::CREATED, Json(json!({ "id": 1, "booking": booking })))
//! }
//!
//! let app: Router = Router::new()
//!     .route("/bookings", post(create_booking))
//!     .layer(Extension(Idempotency::new(MemoryStore::new())));
//! ```
//!
//! A client that sends `Idempotency-Key` gets the first answer again for every further request with that key,
//! marked `Idempotent-Replayed: true`, and one of the [`problems`] where that cannot be. The library
//! implements draft-ietf-httpapi-idempotency-key-header-07.
//!
//! # Layout
//!
//! - [`idempotent`] makes a handler safe to retry, [`IdempotencyLayer`] a whole router,
//!   [`Idempotency::run`] anything else.
//! - [`Idempotency`] is the engine: claim, run, store the answer, replay. [`Options`] say what one handler
//!   wants of it, [`HttpConfig`] how requests are read and answers are marked.
//! - [`IdempotencyKey`], [`Scope`] and [`Fingerprint`] are what is claimed: which key, whose, for what.
//! - [`store::Store`] is what remembers it: [`MemoryStore`], `SqliteStore` (feature `sqlite`), or your own,
//!   against the contract of the feature `conformance`.
//!
//! # Features
//!
//! | Feature | What it adds |
//! |---|---|
//! | `axum` (default) | the HTTP behaviour: attributed handlers, the layer |
//! | `macros` (default) | the attribute |
//! | `sqlite` | [`SqliteStore`] and [`SqliteDatabase`] |
//! | `conformance` | the contract of a store, as functions that can be run |
//! | `full` | all of them |
//!
//! # What it does not promise
//!
//! A handler whose process dies in the middle runs again once the lease is over; what it had done by then is
//! not undone. Let it change things last, in one transaction, and give downstream services keys of their own.

mod clock;
mod engine;
mod fingerprint;
#[cfg(feature = "axum")]
mod http;
mod key;
mod options;
mod outcome;
mod record;
mod refusal;
mod scope;
pub mod store;

#[cfg(feature = "axum")]
#[doc = include_str!("problems.md")]
pub mod problems {}

pub use clock::Clock;
pub use engine::Idempotency;
pub use engine::IdempotencyBuilder;
pub use engine::Run;
pub use engine::RunError;
pub use fingerprint::Fingerprint;
pub use fingerprint::canonical_json;
#[cfg(feature = "axum")]
pub use http::HttpConfig;
#[cfg(feature = "axum")]
pub use http::IdempotencyLayer;
#[cfg(feature = "axum")]
pub use http::IdempotencyService;
#[cfg(feature = "axum")]
pub use http::Idempotent;
#[cfg(feature = "macros")]
pub use idempotent_macro::idempotent;
pub use key::IdempotencyKey;
pub use key::KeyError;
pub use options::FingerprintFn;
pub use options::Keep;
pub use options::OnDuplicate;
pub use options::Options;
pub use options::ScopeFn;
pub use outcome::Outcome;
pub use record::Phase;
pub use record::Record;
pub use record::RecordId;
pub use record::Token;
pub use refusal::Refusal;
pub use scope::Scope;
pub use store::Claim;
pub use store::Fenced;
pub use store::Hold;
pub use store::MemoryStore;
pub use store::Resolution;
#[cfg(feature = "sqlite")]
pub use store::SqliteDatabase;
#[cfg(feature = "sqlite")]
pub use store::SqliteError;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::Store;
pub use store::StoreError;
pub use store::StoreErrorKind;
pub use store::Subscription;
pub use store::Wakeups;

/// What the attribute's expansion calls. Not a public interface.
#[cfg(feature = "axum")]
#[doc(hidden)]
pub mod __private {
    pub use axum::response::Response;
    pub use futures_util::future::BoxFuture;

    pub use crate::http::run;
    pub use crate::http::run_into_response;
}

/// README.md's code, so that what users copy compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
