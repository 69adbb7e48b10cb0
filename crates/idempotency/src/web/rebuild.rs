//! Replays by a function of the handler, which makes the response again from a stored value.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{FromRequestParts, Request, State},
    handler::Handler,
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderValue, request::Parts};

use super::{
    complete::Complete,
    policy::{ProducedBy, is_stored},
    principal::Proved,
    problem::Problem,
    refusal::settle,
    replay_with::StoredValue,
    saved_response,
};
use crate::{
    HttpConfig, engine::Replay, http_rejection::HttpRejection, options::Keep,
    outcome::StoredOutcome,
};

/// A retry gets the stored response.
#[derive(Clone, Copy, Debug)]
pub struct AsStored;

/// A retry gets what this handler makes of the stored value.
#[derive(Clone, Copy, Debug)]
pub struct Rebuilt<F>(pub(super) F);

/// Makes the response for one retry.
pub(super) type Rebuild = Box<dyn FnOnce(Request) -> BoxFuture<'static, Response> + Send>;

/// How the responses of a handler are replayed, in routers with this state. `M` is only for the compiler, as in
/// [`Handler`].
pub trait Replays<M, S>: Clone + Send + Sync + 'static {
    /// The function for one request, if there is one.
    fn rebuild(&self, state: &S) -> Option<Rebuild>;
}

impl<S> Replays<(), S> for AsStored {
    fn rebuild(&self, _state: &S) -> Option<Rebuild> {
        None
    }
}

impl<F, M, S> Replays<(M,), S> for Rebuilt<F>
where
    F: Handler<M, S>,
    S: Clone + Send + Sync + 'static,
{
    fn rebuild(&self, state: &S) -> Option<Rebuild> {
        let (handler, state) = (self.0.clone(), state.clone());
        Some(Box::new(|request| Box::pin(handler.call(request, state))))
    }
}

/// Calls a function whose extractors the attribute does not know, with the state that the handler takes.
#[doc(hidden)]
pub fn rebuild_with_state<F, M, A>(
    function: F,
    State(state): State<A>,
    request: Request,
) -> BoxFuture<'static, Response>
where
    F: Handler<M, A>,
{
    Box::pin(function.call(request, state))
}

/// Like [`rebuild_with_state`], for a handler that takes no state.
#[doc(hidden)]
pub fn rebuild_without_state<F, M>(function: F, request: Request) -> BoxFuture<'static, Response>
where
    F: Handler<M, ()>,
{
    Box::pin(function.call(request, ()))
}

/// The principal, for the function that rebuilds a response. The client of a run that lost its key gets a replay too, and
/// that run's handler has taken the first value.
#[derive(Debug)]
pub struct ProvedAgain<P>(pub P);

impl<P, S> FromRequestParts<S> for ProvedAgain<P>
where
    P: FromRequestParts<S> + Send + 'static,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        if let Some(principal) = Proved::take(parts) {
            return Ok(Self(principal));
        }
        let principal = P::from_request_parts(parts, state).await;
        principal.map(Self).map_err(IntoResponse::into_response)
    }
}

/// Replays what is stored: by the function, where it is a value.
///
/// Nothing is held meanwhile, so a function that fails, hangs or is dropped changes nothing, and the next retry calls it
/// again.
pub(super) async fn replay(
    config: &HttpConfig,
    replay: Replay,
    rebuild: Rebuild,
    mut request: Complete,
) -> Result<Response, Problem> {
    let StoredOutcome::ReplayValue(value) = StoredOutcome::read(replay.outcome.clone())? else {
        return saved_response::replay(config, replay);
    };
    let mut request = request.take();
    request.extensions_mut().insert(StoredValue(value));
    let rebuilding = AssertUnwindSafe(async { rebuild(request).await });
    let rebuilt = rebuilding.catch_unwind().await;
    let mut response = settle(config, rebuilt.map_err(|_| Problem::HandlerPanicked)?);
    let headers = response.headers_mut();
    headers.remove(&config.replayed);
    headers.remove(&config.expires);
    if response.extensions().get::<HttpRejection>().is_none() {
        response.headers_mut().remove(&config.problem);
    }
    // The marker says that this is what the run has come to. A failure of the function says nothing of that: a client that took it for
    // the run's refusal would do the work again under another key.
    let is_failure = response.status().is_client_error();
    if !is_failure && is_stored(&response, ProducedBy::Handler, Keep::Final) {
        let headers = response.headers_mut();
        headers.insert(&config.replayed, HeaderValue::from_static("true"));
        saved_response::announce_expiry(config, &mut response, replay.expires_at);
    }
    Ok(response)
}
