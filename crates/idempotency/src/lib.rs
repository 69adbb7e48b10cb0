//! One attribute makes an axum handler safe to retry: the client may send the same request as often as it likes, and it
//! happens once.
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
//! A client that sends `Idempotency-Key` gets the first response again for every further request with that key, marked
//! `Idempotent-Replayed: true`. Where that is impossible, it gets one of the [`problems`]. The library implements
//! draft-ietf-httpapi-idempotency-key-header-07.
//!
//! # What it promises
//!
//! | | Under a lease, the default | `transactional` |
//! |---|---|---|
//! | For | any handler | handlers whose effects are rows in the store's own database |
//! | Concurrent runs | one | one process commits, the others roll back |
//! | Process dies before the end | the key comes free when the lease expires, and a retry runs again, or is refused | nothing has happened; a retry runs at once |
//! | Effect | at most one run at a time; a run that has lost its key can store nothing | exactly once |
//! | Commits in addition to the handler's own | two | none |
//!
//! In both modes the response is stored before its first byte is sent. A client that disconnects stops nothing. A
//! different request under the same key is refused. If the store cannot be reached, nothing runs.
//!
//! Under a lease do irreversible work last, record finished work with [`Execution::step`], and pass downstream services
//! an [`Execution::child_key`]. A transactional handler ends its run with [`Execution::commit`]; work without HTTP uses
//! [`Execution::commit_value`].
//!
//! # Overview
//!
//! - [`idempotent`] protects a handler, [`IdempotencyLayer`] a whole router, [`Idempotency::run_with`] anything else, such as the
//!   work for a queue message.
//! - [`Execution`] is what a handler can do in its run: commit, steps, keys for other services.
//! - [`Idempotency`] is the engine: claim, run, store the response, replay. [`Options`] set how one handler is protected,
//!   and [`HttpConfig`] how requests are read and responses are marked. [`options`] has the types of their values. [`Idempotency::describe_operation`] writes both
//!   into an OpenAPI document.
//! - [`IdempotencyKey`], [`Scope`] and [`Fingerprint`] say what is claimed: which key, whose, and for which request.
//! - [`key::KeyRequest`] is for keys that are not in `Idempotency-Key`.
//! - [`webhooks`] has options for webhook deliveries.
//! - [`dialects`] has settings for clients of an established protocol.
//! - [`fingerprint`] has functions for bodies that differ from one attempt to the next.
//! - [`store::Store`] stores the records: [`MemoryStore`], [`SqliteStore`], [`PostgresStore`], [`RedisStore`],
//!   [`FirestoreStore`], or [one of your own](guide::custom_store). The guide to [stores](guide::stores) helps you
//!   choose.
//! - [`client`] is the other side: it sends a request with one key until it has its response.
//! - [`store`] also has what handlers do not need: types for writing a store, for managing its records, and the
//!   transaction types. [`operators`] has those for looking at a key, erasing its response and freeing it.
//!
//! # Guides
//!
//! [Stores](guide::stores) · [transactions](guide::transactions) · [other PostgreSQL clients](guide::other_clients) ·
//! [steps](guide::steps) · [clients](guide::clients) · [operators](guide::operators) · [testing](guide::testing) ·
//! [security](guide::security) · [questions](guide::faq) ·
//! [comparison](guide::comparison) · [a store of your own](guide::custom_store)
//!
//! # Features
//!
//! | Feature | What it adds |
//! |---|---|
//! | `axum` (default) | the HTTP behaviour: attributed handlers, the layer |
//! | `macros` (default) | the attribute |
//! | `postgres` | [`PostgresStore`] |
//! | `sqlx-0_8`, `tokio-postgres` | commits transactions of these clients together with the key |
//! | `redis` | [`RedisStore`] |
//! | `redis-tls` | `rediss://` for it |
//! | `sqlite` | [`SqliteStore`] and [`SqliteDatabase`] |
//! | `firestore` | [`FirestoreStore`] and [`FirestoreDatabase`] |
//! | `client` | [`client`]: requests that are sent until they have their response |
//! | `conformance` | the contract of a store, as tests to run |
//! | `testing` | interrupts a handler at every point, and counts its effects |
//! | `metrics` | [counters, gauges and histograms](guide::operators#metrics), by the crate `metrics` |
//! | `full` | all of them |
//!
//! The types of database clients, and of reqwest, are part of this interface. Each client is re-exported behind its feature: `reqwest`, `sqlx`,
//! `sqlx_0_8`, `tokio_postgres` and `rusqlite`. An application that uses `idempotency::sqlx` gets the matching version.
//!
//! The guide to [stores](guide::stores) lists requirements, [TLS](guide::stores#tls), and
//! [compatible SQLite versions](guide::stores#one-sqlite-in-a-program).

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "client")]
pub mod client;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "axum")]
pub mod dialects;
mod engine;
mod execution;
pub mod fingerprint;
#[cfg(feature = "axum")]
mod http_config;
#[cfg(feature = "axum")]
mod http_rejection;
pub mod key;
mod labels;
#[cfg(feature = "axum")]
mod web;
// How this library formats errors for logs, for services that format theirs in the same way.
#[doc(hidden)]
pub mod log_text;
pub mod operators;
pub mod options;
mod outcome;
mod progress;
mod random;
mod record;
mod rejection;
mod run;
mod scope;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "axum")]
pub mod webhooks;

pub mod guide;

/// What the HTTP behaviour gives to other middleware, and what a service names of it.
#[cfg(feature = "axum")]
pub mod http {
    pub use crate::engine::Observation;
    pub use crate::http_rejection::HttpRejection;
    pub use crate::web::IdempotencyService;
    pub use crate::web::UnknownOperation;
}

#[cfg(feature = "axum")]
#[doc = include_str!("problems.md")]
pub mod problems {}

pub use clock::Clock;
pub use engine::Idempotency;
pub use engine::IdempotencyBuilder;
pub use engine::Unfinished;
pub use execution::CommitError;
pub use execution::Execution;
pub use execution::StepError;
pub use fingerprint::Fingerprint;
#[cfg(feature = "axum")]
pub use http_config::HttpConfig;
#[doc = include_str!("docs/idempotent.md")]
#[cfg(feature = "macros")]
pub use idempotent_macro::idempotent;
pub use key::IdempotencyKey;
pub use labels::Label;
pub use options::OnDuplicate;
pub use options::Options;
pub use outcome::Disposition;
pub use rejection::Rejection;
pub use run::Run;
pub use run::RunError;
pub use scope::Scope;
#[cfg(feature = "firestore")]
pub use store::FirestoreDatabase;
#[cfg(feature = "firestore")]
pub use store::FirestoreStore;
pub use store::MemoryStore;
pub use store::OnLost;
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteDatabase;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::Store;
#[cfg(feature = "axum")]
pub use web::IdempotencyLayer;
#[cfg(feature = "axum")]
pub use web::Idempotent;
#[cfg(feature = "axum")]
pub use web::Principal;
#[cfg(feature = "axum")]
pub use web::ReplayWith;

/// The reqwest of [`client::RetryingClient`].
#[cfg(feature = "client")]
#[doc(no_inline)]
pub use reqwest;

/// The sqlx of [`PostgresStore`]'s pools, and of transactions for [`Execution::commit`].
#[cfg(feature = "postgres")]
#[doc(no_inline)]
pub use sqlx;

/// The sqlx 0.8 of transactions for [`Execution::commit`].
#[cfg(feature = "sqlx-0_8")]
#[doc(no_inline)]
pub use sqlx_0_8;

/// The `tokio_postgres` of transactions for [`Execution::commit`].
#[cfg(feature = "tokio-postgres")]
#[doc(no_inline)]
pub use tokio_postgres;

/// The rusqlite of [`SqliteDatabase`]'s connections. Of the versions that this library accepts, cargo chooses one.
#[cfg(feature = "sqlite")]
#[doc(no_inline)]
pub use rusqlite;

/// What the attribute's expansion calls. Not a public interface; the number changes when what it calls changes.
#[cfg(feature = "axum")]
#[doc(hidden)]
pub mod __private1 {
    pub use std::time::Duration;

    pub use axum::extract::Request;
    pub use axum::extract::State;
    pub use axum::response::Response;
    pub use futures_util::future::BoxFuture;

    pub use crate::web::Direct;
    pub use crate::web::InExtensions;
    pub use crate::web::InState;
    pub use crate::web::Proved;
    pub use crate::web::ProvedAgain;
    pub use crate::web::ProvedBy;
    pub use crate::web::Rebuilt;
    pub use crate::web::Unproved;
    pub use crate::web::protected;
    pub use crate::web::protected_by;
    pub use crate::web::rebuild_with_state;
    pub use crate::web::rebuild_without_state;
    pub use crate::web::replaying;
    pub use crate::web::run;
    pub use crate::web::run_into_response;

    /// The constant to which an attribute adds its options.
    #[must_use]
    pub const fn base(options: crate::Options) -> crate::Options {
        options
    }
}

/// The engine's decisions, for the model of the protocol in this library's tests. Not a public interface; the number changes
/// when they do.
#[doc(hidden)]
pub mod __model1 {
    pub use crate::engine::CommitStatus;
    pub use crate::engine::Persist;
    pub use crate::engine::decision::AfterClaim;
    pub use crate::engine::decision::AfterLook;
    pub use crate::engine::decision::AfterRefusedEnd;
    pub use crate::engine::decision::Asked;
    pub use crate::engine::decision::Predecessor;
    pub use crate::engine::decision::after_claim;
    pub use crate::engine::decision::after_look;
    pub use crate::engine::decision::after_refused_end;
    pub use crate::engine::decision::commit_status;
    pub use crate::engine::decision::owner;
    pub use crate::engine::decision::predecessor;
    pub use crate::engine::decision::response_of_the_owner;
    pub use crate::progress::Progress;
}

/// What a database commits with a key's record that this library's tests simulate. Not a public interface; the number changes when it
/// does. A transaction of anybody else's would write what no store of this library reads, so a feature of its own opens it.
#[cfg(feature = "__database1")]
#[doc(hidden)]
pub mod __database1 {
    pub use crate::store::transaction::CommitFailure;
    pub use crate::store::transaction::Committed;
    pub use crate::store::transaction::NewOutcome;
    pub use crate::store::transaction::PendingRecord;
    pub use crate::store::transaction::sealed::Sealed;

    pub type EncodeResponse<V> = crate::store::transaction::EncodeResponse<V>;
}

/// What makes a simulation repeatable, for this library's tests. Not a public interface; the number changes when it does.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod __simulation1 {
    pub use crate::random::seed_this_thread;
}

/// README.md's code, so that what users copy compiles.
#[cfg(all(doctest, feature = "macros", feature = "sqlite"))]
#[doc = include_str!("../README.md")]
struct Readme;
