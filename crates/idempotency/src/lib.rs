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
//!   [`Idempotency::run_with`] anything else, such as the work for a queue message.
//! - [`Execution`] is what a handler or other work can do in its run: commit, steps, keys for others.
//! - [`Idempotency`] is the engine: claim, run, store the answer, replay. [`Options`] say what one handler
//!   wants of it, [`HttpConfig`] how requests are read and answers are marked.
//! - [`IdempotencyKey`], [`Scope`] and [`Fingerprint`] are what is claimed: which key, whose, for what.
//! - [`store::Store`] is what remembers it: [`MemoryStore`], `SqliteStore` (feature `sqlite`), `PostgresStore`
//!   (feature `postgres`), `RedisStore` (feature `redis`), `FirestoreStore` (feature `firestore`), or your own,
//!   against the contract of the feature `conformance`.
//!
//! # Features
//!
//! | Feature | What it adds |
//! |---|---|
//! | `axum` (default) | the HTTP behaviour: attributed handlers, the layer |
//! | `macros` (default) | the attribute |
//! | `postgres` | [`PostgresStore`] |
//! | `redis` | [`RedisStore`] |
//! | `redis-tls` | `rediss://` for it |
//! | `sqlite` | [`SqliteStore`] and [`SqliteDatabase`] |
//! | `firestore` | [`FirestoreStore`] and [`FirestoreDatabase`] |
//! | `conformance` | the contract of a store, as functions that can be run |
//! | `full` | all of them |
//!
//! No feature chooses the cryptography of TLS. `rediss://` and Firestore use the rustls provider that the program installs
//! once, at its start, with rustls 0.23 and its feature `ring` (or `aws-lc-rs`):
//!
//! ```
//! let installed = rustls::crypto::ring::default_provider().install_default();
//! installed.expect("no other provider");
//! ```
//!
//! Without one they do not connect, and the error says so. TLS to PostgreSQL is a feature of sqlx that the application turns
//! on, such as `tls-rustls-ring-webpki`.
//!
//! A program has one SQLite: cargo resolves one package that links it. `sqlite` resolves beside rusqlite 0.39 and 0.40,
//! sqlx 0.9 with its `sqlite`, sea-orm 2 and loco 1. It does not beside rusqlite 0.38 or 0.41, sqlx 0.8 with its `sqlite`,
//! sea-orm 1 with `sqlx-sqlite`, loco 0.16, or tower-sessions-sqlx-store 0.15 with its `sqlite`. The closures of
//! [`SqliteDatabase`] have rusqlite's connection, of the version that cargo has chosen.
//!
//! # Two guarantees
//!
//! Under a lease, which is the default, there is one run at a time, and a run that has lost its key can store nothing. When
//! its process dies, a retry runs again once the lease is over: let a handler change things last, keep what it has done by
//! [`Execution::step`], and give downstream services an [`Execution::child_key`]. The example `payment` does so, is killed
//! between charge and booking, and has charged once: `cargo run --example payment -p idempotency --features sqlite`.
//!
//! A handler whose effects are rows of the store's own database can be `transactional`. It ends by [`Execution::commit`],
//! which makes its rows, the key and the answer one commit: they happen exactly once, whatever is killed whenever, and no
//! commit is added to the handler's own. Work without HTTP ends by [`Execution::commit_value`], with the same promise.

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod engine;
mod execution;
mod fingerprint;
#[cfg(feature = "axum")]
mod http_config;
mod key;
mod labels;
#[cfg(feature = "axum")]
mod web;
// How this library writes errors into a log, for services that want theirs written in the same way.
#[doc(hidden)]
pub mod log_text;
mod options;
mod outcome;
mod progress;
mod record;
mod rejection;
mod run;
mod scope;
pub mod store;

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
pub use fingerprint::canonical_json;
#[cfg(feature = "axum")]
pub use http_config::HttpConfig;
/// Makes a handler run once for each `Idempotency-Key`, and answers every retry with the first answer.
///
/// ```
/// use axum::{Extension, Json, Router, extract::State, http::StatusCode, routing::post};
/// use idempotency::{Idempotency, MemoryStore, idempotent};
///
/// /// Takes a booking, once, however often the client has to ask.
/// #[idempotent(ttl_seconds = 3600)]
/// async fn create_booking(State(hotel): State<String>, Json(guest): Json<String>) -> (StatusCode, String) {
///     (StatusCode::CREATED, format!("{guest} stays at {hotel}"))
/// }
///
/// let app: Router = Router::new()
///     .route("/bookings", post(create_booking))
///     .with_state("Ritz".to_owned())
///     .layer(Extension(Idempotency::new(MemoryStore::new())));
/// ```
///
/// The extractors, the state and the answer are the handler's own; nothing in it changes. A unit test calls the
/// function itself, without a key and without an engine:
///
/// ```
/// # use axum::Json;
/// # use idempotency::idempotent;
/// #[idempotent]
/// async fn greet(Json(name): Json<String>) -> String {
///     format!("Hello, {name}")
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(greet(Json("Ann".to_owned())).await, "Hello, Ann");
/// # }
/// ```
///
/// # Options
///
/// All are optional, in any order, each at most once.
///
/// | Option | Effect | Without it |
/// |---|---|---|
/// | `ttl_seconds = 3600` | how long the answer is replayed, counted from its completion; up to ten years | 24 hours |
/// | `lease_seconds = 30` | how long the key stays taken when the process dies; not more than the ttl | 30 seconds |
/// | `required` | a request without a key is refused with 400 | it runs unprotected |
/// | `transactional` | nothing is stored before the handler's own transaction, which it ends by [`Execution::commit`] | the key is claimed first, under a lease |
/// | `on_duplicate = "wait"` | a duplicate waits up to ten seconds for the first run's answer | it gets 409 at once |
/// | `on_lost = "refuse"` | a retry is [refused](problems#outcome-unknown) when a run's process died, until an operator [resolves](Idempotency::resolve) it | it takes over and runs |
/// | `keep = "all"` | every answer of the handler is stored, [also 5xx and panics](Keep::All) | a retry after a 5xx runs again |
/// | `principal = Claims` | this extractor, a [`Principal`], verifies the caller of every request, replays too | see [`Scope`] |
/// | `scope = path::to::function` | a [`ScopeFn`] says whose key it is | see [`Scope`] |
/// | `fingerprint = path::to::function` | a [`FingerprintFn`] says what of the body counts | canonical JSON, else all bytes |
///
/// ```
/// use std::error::Error;
///
/// use axum::http::request::Parts;
/// use idempotency::{Scope, idempotent};
///
/// #[idempotent(required, on_duplicate = "wait", scope = tenant)]
/// async fn charge(amount: String) -> Result<String, String> {
///     Ok(amount)
/// }
///
/// fn tenant(head: &Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> {
///     let tenant = head.headers.get("x-tenant").ok_or("no tenant")?;
///     Ok(Scope::principal(tenant.to_str()?))
/// }
/// ```
///
/// # Who is calling
///
/// A replay runs no extractor of the handler: one that verifies a token would not be asked, and a caller whose token was
/// taken away would get the stored response. The extractor that `principal` names runs first, once, on every request, with
/// the router's state:
///
/// ```
/// # use axum::{extract::FromRequestParts, http::{StatusCode, request::Parts}};
/// use idempotency::{Principal, Scope, idempotent};
///
/// # struct Claims { subject: String }
/// # impl<S: Sync> FromRequestParts<S> for Claims {
/// #     type Rejection = StatusCode;
/// #     async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, StatusCode> {
/// #         Err(StatusCode::UNAUTHORIZED)
/// #     }
/// # }
/// impl Principal for Claims {
///     fn scope(&self) -> Scope {
///         Scope::principal(&self.subject)
///     }
/// }
///
/// #[idempotent(principal = Claims)]
/// async fn transfer(claims: Claims, amount: String) -> String {
///     format!("{} sends {amount}", claims.subject)
/// }
/// ```
///
/// - Its rejection is the response, before the key, the body and the store are looked at; also where there is no key.
/// - The key belongs to the principal's scope, whichever token proves it, and whatever [`Scope`] a layer outside has set.
/// - The first argument of the same type gets the value. Write it in the same way: an alias or another path, like
///   `auth::Claims` for `Claims`, is another type for the attribute, and is extracted a second time.
/// - A unit test awaits `transfer(claims, amount)`. To spawn it, call `into_future()` on it first.
/// - With `principal` there is no `scope`.
///
/// # What to know
///
/// - The engine comes from the request's extensions. Without `.layer(Extension(engine))` around the route, the
///   answer is a 500 that says so.
/// - A replay runs neither the handler nor its extractors, but for the `principal`. What else must be checked each time
///   belongs into a layer outside.
/// - A handler that compresses by itself sees `Accept-Encoding: identity` under a key, because what is stored has to suit
///   every retry.
/// - gRPC is refused under a key: its status is in trailers, which a replay does not have.
/// - When an extractor refuses, nothing has happened: the key is free for a corrected request. What the handler
///   itself answers is stored, also a 422.
/// - `GET`, `HEAD` and other safe methods are never protected. `PUT` and `DELETE` are, because the attribute asks
///   for it.
/// - A `transactional` handler holds nothing while it runs, so `lease_seconds` and `on_lost` mean nothing there. One that
///   answers below 400 without a commit gets 500 for an answer; its refusals are stored by themselves.
/// - Other attributes keep their meaning above or below this one: `#[axum::debug_handler]`,
///   `#[tracing::instrument]`, `#[utoipa::path]`.
///
/// # Limitations
///
/// The attribute writes a constant of the function's name, an [`Idempotent`]. Therefore:
///
/// - it stands on an `async fn` outside of traits, free or in an `impl` block, without `self`, type parameters,
///   lifetimes and borrowed arguments; in an `impl` block the function names the type instead of saying `Self`;
/// - in scope of the handler no variable can have its name, because a pattern of that name means the constant.
///
/// Each of these mistakes is a compile error, as are an option that does not exist, one that is given twice, and
/// a value that it cannot have:
///
/// ```compile_fail
/// #[idempotency::idempotent(ttl_seconds = 0)]
/// async fn create_booking() {}
/// ```
#[cfg(feature = "macros")]
pub use idempotent_macro::idempotent;
pub use key::IdempotencyKey;
pub use key::KeyError;
pub use labels::Label;
pub use labels::Labels;
pub use options::FingerprintFn;
pub use options::Keep;
pub use options::OnDuplicate;
pub use options::Options;
pub use options::ScopeFn;
pub use outcome::Disposition;
pub use record::Phase;
pub use record::Record;
pub use record::RecordId;
pub use record::ScopeId;
pub use record::Token;
pub use rejection::Rejection;
pub use run::Run;
pub use run::RunError;
pub use scope::Scope;
pub use store::Claim;
pub use store::ClaimRequest;
#[cfg(feature = "firestore")]
pub use store::FirestoreConflict;
#[cfg(feature = "firestore")]
pub use store::FirestoreDatabase;
#[cfg(feature = "firestore")]
pub use store::FirestorePrecondition;
#[cfg(feature = "firestore")]
pub use store::FirestoreStore;
#[cfg(feature = "firestore")]
pub use store::FirestoreStoreError;
#[cfg(feature = "firestore")]
pub use store::FirestoreTransaction;
pub use store::Hold;
pub use store::IfOwner;
pub use store::ListRequest;
pub use store::Listed;
pub use store::ListedPhase;
pub use store::MemoryStore;
pub use store::OnLost;
pub use store::Polling;
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "postgres")]
pub use store::PostgresStoreError;
#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "redis")]
pub use store::RedisStoreError;
pub use store::Resolution;
#[cfg(feature = "sqlite")]
pub use store::SqliteDatabase;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteStoreError;
#[cfg(feature = "sqlite")]
pub use store::SqliteTransaction;
pub use store::Store;
pub use store::StoreError;
pub use store::StoreErrorKind;
pub use store::Subscription;
pub use store::Transaction;
pub use store::Wakeups;
#[cfg(feature = "axum")]
pub use web::IdempotencyLayer;
#[cfg(feature = "axum")]
pub use web::IdempotencyService;
#[cfg(feature = "axum")]
pub use web::Idempotent;
#[cfg(feature = "axum")]
pub use web::Principal;

/// What the attribute's expansion calls. Not a public interface.
#[cfg(feature = "axum")]
#[doc(hidden)]
pub mod __private {
    pub use axum::response::Response;
    pub use futures_util::future::BoxFuture;

    pub use crate::web::Direct;
    pub use crate::web::Proved;
    pub use crate::web::ProvedBy;
    pub use crate::web::protected;
    pub use crate::web::protected_by;
    pub use crate::web::run;
    pub use crate::web::run_into_response;
}

/// README.md's code, so that what users copy compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
