//! Options for receivers of webhooks: the key is the id that the sender gives to a delivery and repeats when it sends it again.
//!
//! ```
//! use axum::{Router, http::StatusCode, routing::post};
//! use idempotency::{Idempotency, MemoryStore, idempotent, webhooks};
//!
//! #[idempotent(options = webhooks::STRIPE)]
//! async fn on_stripe_event(event: String) -> StatusCode {
//!     // Runs once for each event.
//!     StatusCode::NO_CONTENT
//! }
//!
//! let app: Router = Router::new()
//!     .route("/webhooks/stripe", post(on_stripe_event))
//!     // The layer that verifies signatures goes around both.
//!     .layer(Idempotency::new(MemoryStore::new()).extension());
//! ```
//!
//! | | [`STANDARD`] | [`GITHUB`] | [`STRIPE`] |
//! |---|---|---|---|
//! | Senders | all that follow [Standard Webhooks](https://www.standardwebhooks.com) | GitHub | Stripe |
//! | Key | the field `webhook-id` | the fields `X-GitHub-Delivery` and `X-GitHub-Hook-ID` | the member `id` of the event |
//! | Counts of the body | all | all | all but `pending_webhooks`, which changes from one attempt to the next |
//! | ttl | 7 days | 30 days | 30 days |
//!
//! In each of them a delivery without an id is refused with 400, only responses of status 2xx are stored
//! ([`Keep::Success`]), and the fields of a signature, which differ on each attempt, do not count. A handler's other options and a
//! layer's are added: `#[idempotent(options = webhooks::STRIPE, ttl_seconds = 86400)]`, or
//! `webhooks::STRIPE.ttl(Duration::from_secs(86_400))`. For other senders write a [`KeyFn`](crate::key::KeyFn).
//!
//! # Verify the signature first
//!
//! **These options verify nothing.** A client that can send requests to an unverified endpoint can also use up the id of a delivery that is
//! still to come. So a layer around the protection verifies the signature of every request, replays too. It needs the body as
//! it was sent, which an extractor of `principal = …` does not have:
//!
//! ```
//! use axum::{
//!     Router,
//!     body::{Body, to_bytes},
//!     extract::Request,
//!     http::{StatusCode, request::Parts},
//!     middleware::{Next, from_fn},
//!     response::{IntoResponse, Response},
//!     routing::post,
//! };
//! use idempotency::{Idempotency, MemoryStore, idempotent, webhooks};
//!
//! #[idempotent(options = webhooks::STANDARD)]
//! async fn on_payment(event: String) -> StatusCode {
//!     StatusCode::NO_CONTENT
//! }
//!
//! async fn verify(request: Request, next: Next) -> Response {
//!     let (head, body) = request.into_parts();
//!     let Ok(body) = to_bytes(body, 1024 * 1024).await else {
//!         return StatusCode::PAYLOAD_TOO_LARGE.into_response();
//!     };
//!     if !is_signed(&head, &body) {
//!         return StatusCode::UNAUTHORIZED.into_response();
//!     }
//!     next.run(Request::from_parts(head, Body::from(body))).await
//! }
//!
//! fn is_signed(head: &Parts, body: &[u8]) -> bool {
//!     // The sender's library compares the signature, and the age of its timestamp.
//! #    head.headers.contains_key("webhook-signature") && !body.is_empty()
//! }
//!
//! let app: Router = Router::new()
//!     .route("/webhooks/payments", post(on_payment))
//!     .layer(from_fn(verify))
//!     .layer(Idempotency::new(MemoryStore::new()).extension());
//! ```
//!
//! Standard Webhooks and Stripe sign the id together with the body. GitHub signs the body only, so that someone who has seen a
//! delivery can send its body again under another id. Where that matters, take the key from the body.
//!
//! # Whose id it is
//!
//! If a layer has put a [`Scope`] into the request, such as the account whose secret has verified it, the id belongs to that scope.
//! Otherwise it belongs to the sender, the path and the query. So two endpoints that get the same event both run, and no other client of the
//! service can use up an id. Give each sender its own path, or its own scope: one sender could otherwise use up ids of another.
//! Credentials do not count, and neither does the [scope of the engine](crate::IdempotencyBuilder::with_scope).
//!
//! # What the sender gets
//!
//! | Response | When | What the sender does |
//! |---|---|---|
//! | the handler's 2xx | the delivery has run, now or before | it is done |
//! | the handler's other responses | the delivery has run, and nothing is stored | sends it again, which runs again |
//! | 400 `key-missing`, `key-malformed` | there is no id | reports a failure |
//! | 409 `in-progress` | an earlier attempt is still running | sends it again later, and gets that response |
//! | 422 `key-reused` | another body under this id | reports a failure; the first delivery stands |
//! | 503 | the store cannot be reached, and nothing has run | sends it again later |
//!
//! Senders treat everything but 2xx as a failure, which is right for each of these: no delivery is lost. GitHub does not repeat a failed
//! delivery by itself; an operator or a program asks for it. A handler that needs longer than the sender waits, which is ten seconds
//! for GitHub, goes on, and the next attempt gets its response.
//!
//! A sender that follows Standard Webhooks disables an endpoint that responds with 410. That is what a delivery gets whose response an
//! operator has [erased](crate::problems#response-erased), so erase such a response only once it is not sent again.

use std::{error::Error, time::Duration};

use axum::extract::OriginalUri;
use http::{request::Parts, uri::PathAndQuery};

use crate::{
    IdempotencyKey, Options, Scope,
    key::{KeyRejection, KeyRequest},
    options::Keep,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Deliveries by senders that follow [Standard Webhooks](https://www.standardwebhooks.com): the key is the field `webhook-id`.
///
/// ```
/// use axum::http::StatusCode;
/// use idempotency::{idempotent, webhooks};
///
/// #[idempotent(options = webhooks::STANDARD)]
/// async fn on_payment(event: String) -> StatusCode {
///     StatusCode::NO_CONTENT
/// }
/// ```
///
/// A sender repeats the id and the body, and renews `webhook-timestamp` and `webhook-signature`. The specification's schedule ends
/// after about three days, and the ttl is a week. For a sender whose operators send older deliveries again, set a longer one.
pub const STANDARD: Options = receiving(7)
    .key(standard_id)
    .scope(|head| scope(head, "standard webhooks"));

/// Deliveries by GitHub: the key is the field `X-GitHub-Delivery`, for each hook.
///
/// ```
/// use axum::http::StatusCode;
/// use idempotency::{idempotent, webhooks};
///
/// #[idempotent(options = webhooks::GITHUB)]
/// async fn on_push(event: String) -> StatusCode {
///     StatusCode::NO_CONTENT
/// }
/// ```
///
/// A redelivery has the same id and the same body. GitHub gives one id to an event for all hooks that get it, with a body for each, so
/// `X-GitHub-Hook-ID` is part of the key: a service with a hook in the repository and one in the organization runs for both. A delivery can
/// be requested again for three days, on GitHub Enterprise Server for seven. A redelivery is a delivery too, so each one begins these days anew, and
/// the ttl is 30 days.
///
/// The body is read whole before the handler is called, up to the limit of axum's `DefaultBodyLimit`, which is 2 MB by default. GitHub's payloads
/// reach 25 MB, so raise the limit on this route.
pub const GITHUB: Options = receiving(30)
    .key(github_delivery)
    .scope(|head| scope(head, "github webhooks"));

/// Events of Stripe: the key is the member `id` of the body, such as `evt_1NG8Du2eZvKYlo2CUI79vXWy`.
///
/// ```
/// use axum::http::StatusCode;
/// use idempotency::{idempotent, webhooks};
///
/// #[idempotent(options = webhooks::STRIPE)]
/// async fn on_stripe_event(event: String) -> StatusCode {
///     StatusCode::NO_CONTENT
/// }
/// ```
///
/// Stripe repeats the event with a new `Stripe-Signature`, and with another `pending_webhooks` once other endpoints have received
/// it. It repeats an event for three days by itself, and for up to a month on request, and the ttl is 30 days.
///
/// The body is read whole before the handler is called, up to the limit of axum's `DefaultBodyLimit`, which is 2 MB by default.
pub const STRIPE: Options = receiving(30)
    .key(stripe_event)
    .fingerprint(crate::json_without!("pending_webhooks"))
    .scope(|head| scope(head, "stripe webhooks"));

/// What all receivers have in common.
const fn receiving(days: u32) -> Options {
    let seconds = DAY.as_secs() * days as u64;
    Options::new()
        .required()
        .keep(Keep::Success)
        .ttl(Duration::from_secs(seconds))
}

/// The [`KeyFn`](crate::key::KeyFn) of [`STANDARD`].
///
/// # Errors
///
/// If the field is sent twice, or its value is not a key.
pub fn standard_id(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
    request.header("webhook-id")
}

/// The [`KeyFn`](crate::key::KeyFn) of [`GITHUB`]: the id of the delivery, followed by `/` and the id of the hook if there is one.
///
/// # Errors
///
/// If a field is sent twice, or its value is not a key.
pub fn github_delivery(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
    let Some(delivery) = request.header("x-github-delivery")? else {
        return Ok(None);
    };
    let Some(hook) = request.header("x-github-hook-id")? else {
        return Ok(Some(delivery));
    };
    let key = format!("{}/{}", delivery.expose(), hook.expose());
    Ok(Some(IdempotencyKey::new(&key)?))
}

/// The [`KeyFn`](crate::key::KeyFn) of [`STRIPE`].
///
/// # Errors
///
/// If the body is not JSON, or the member is neither a string nor an integer, or not a key.
pub fn stripe_event(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
    request.member("id")
}

/// The scope that a layer has determined, or otherwise one of the sender at this path and query: Stripe has an endpoint for each version of its
/// events registered under a query of its own.
fn scope(head: &Parts, sender: &str) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    if let Some(scope) = head.extensions.get::<Scope>() {
        return Ok(scope.clone());
    }
    let uri = match head.extensions.get::<OriginalUri>() {
        Some(OriginalUri(uri)) => uri,
        None => &head.uri,
    };
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    Ok(Scope::principal(format!("{sender} at {target}")))
}
