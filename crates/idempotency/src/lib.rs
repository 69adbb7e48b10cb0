//! Retry-safe axum handlers: one attribute, and a client may send the same request as often as it likes
//! while it happens once.

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
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
