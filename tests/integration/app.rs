//! The handlers that the tests call: attributed as a user would, and each counts its runs.

use std::{
    collections::BTreeSet,
    error::Error,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, OriginalUri, Path, State},
    response::{IntoResponse, Response},
    routing::{any, post},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request::Parts};
use idempotency::{Idempotency, IdempotencyLayer, Scope, idempotent};
use serde_json::{Value, json};
use tests::wait::within_a_minute;
use tokio::sync::{Semaphore, watch};

use crate::{script, transport::Marker};

/// Counts what the handlers did, and says when those that stop may continue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probe(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    runs: AtomicUsize,
    started: Semaphore,
    gate: watch::Sender<Gate>,
    blocked: (Mutex<mpsc::Sender<()>>, Mutex<mpsc::Receiver<()>>),
}

/// Which handlers may continue: so many of those that stop, and those of these numbers.
#[derive(Debug, Default)]
struct Gate {
    anybody: usize,
    runs: BTreeSet<usize>,
}

impl Default for Inner {
    fn default() -> Self {
        let (unblock, blocked) = mpsc::channel();
        Self {
            runs: AtomicUsize::new(0),
            started: Semaphore::new(0),
            gate: watch::Sender::default(),
            blocked: (Mutex::new(unblock), Mutex::new(blocked)),
        }
    }
}

impl Probe {
    /// How many handlers have begun.
    pub(crate) fn runs(&self) -> usize {
        self.0.runs.load(Ordering::SeqCst)
    }

    /// Restarts the count at 0.
    pub(crate) fn forget_runs(&self) {
        self.0.runs.store(0, Ordering::SeqCst);
    }

    /// Returns once a handler that stops has begun. Each handler is reported once.
    pub(crate) async fn started(&self) {
        let started = within_a_minute("a handler that begins", self.0.started.acquire()).await;
        started.expect("an open semaphore").forget();
    }

    /// Lets one stopped handler continue.
    pub(crate) fn proceed(&self) {
        self.0.gate.send_modify(|gate| gate.anybody += 1);
    }

    /// Lets the stopped handler of this number continue.
    pub(crate) fn proceed_with(&self, run: usize) {
        self.0.gate.send_modify(|gate| _ = gate.runs.insert(run));
    }

    /// Lets the handler continue that blocks its thread.
    pub(crate) fn unblock(&self) {
        self.0
            .blocked
            .0
            .lock()
            .expect("a lock")
            .send(())
            .expect("a receiver");
    }

    pub(crate) fn count(&self) -> usize {
        self.0.runs.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The work of a step: a charge, which counts as a run.
    pub(crate) fn charge<E>(
        &self,
    ) -> impl Future<Output = Result<String, E>> + Send + 'static + use<E> {
        let probe = self.clone();
        async move { Ok(format!("receipt {}", probe.count())) }
    }

    pub(crate) async fn stop(&self, run: usize) {
        self.0.started.add_permits(1);
        let mut changes = self.0.gate.subscribe();
        let pass = |gate: &mut Gate| {
            let named = gate.runs.remove(&run);
            let passes = named || gate.anybody > 0;
            gate.anybody -= usize::from(passes && !named);
            passes
        };
        while !self.0.gate.send_if_modified(pass) {
            changes.changed().await.expect("an open channel");
        }
    }

    fn block(&self) {
        self.0.started.add_permits(1);
        self.0
            .blocked
            .1
            .lock()
            .expect("a lock")
            .recv()
            .expect("a sender");
    }
}

/// Every endpoint.
pub(crate) fn router(idempotency: &Idempotency, probe: Probe) -> Router {
    let layered = Router::new()
        .route("/bookings", post(unprotected).put(unprotected))
        .route("/script", post(script::unprotected))
        .route("/twice", post(book))
        .layer(IdempotencyLayer::new(idempotency.clone()));
    let accounts = Router::new()
        .route("/bookings", post(book))
        .layer(axum::middleware::map_request(authenticate));
    Router::new()
        .route("/bookings", any(book))
        .route("/bookings/{id}", any(touch))
        .route("/bookings/{id}/pay", post(touch))
        .route("/posted", post(book))
        .route("/required", post(require_a_key))
        .route("/unprotected", any(unprotected))
        .route("/stop", post(stop_midway))
        .route("/stop/wait", post(stop_midway_with_waiters))
        .route("/stop/fail-once", post(fail_once))
        .route("/three-seconds", post(take_a_lease_of_three_seconds))
        .route("/blocking", post(block_the_thread))
        .route("/conditional", any(change_if_match))
        .route("/echo", post(echo_back))
        .route("/short", post(take_a_short_lease))
        .route("/small", post(book).layer(DefaultBodyLimit::max(100)))
        .route("/tenants", post(ask_for_the_tenant))
        .route("/half", post(count_half))
        .nest("/api", Router::new().route("/bookings", post(book)))
        .nest("/v2", Router::new().route("/bookings", post(book)))
        .nest("/accounts", accounts)
        .nest("/decoding", crate::codings::routes(idempotency))
        .nest("/layered", layered)
        .merge(crate::extractors::routes())
        .merge(crate::given_up::routes())
        .merge(crate::labels::routes(idempotency))
        .merge(crate::lost::routes())
        .merge(crate::order::routes(idempotency))
        .merge(crate::own_keys::routes(idempotency))
        .merge(crate::rebuilt::routes())
        .merge(crate::principals::routes())
        .merge(crate::ready_fingerprints::routes(idempotency))
        .merge(crate::reclaims::routes())
        .merge(crate::stragglers::routes())
        .merge(script::routes())
        .merge(crate::steps::routes())
        .merge(crate::streaming::routes())
        .merge(crate::ttls::routes(idempotency))
        .merge(crate::upgrades::routes())
        .merge(crate::webhooks::routes(idempotency))
        .with_state(probe)
}

/// What an authentication layer would do: it knows tokens, and one subject may have several.
async fn authenticate(
    mut request: axum::extract::Request,
) -> Result<axum::extract::Request, StatusCode> {
    let token = request
        .headers()
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    let subject = match token {
        Some("Bearer ann-1" | "Bearer ann-2") => "ann",
        Some("Bearer bob-1") => "bob",
        _ => return Err(StatusCode::UNAUTHORIZED),
    };
    request.extensions_mut().insert(Scope::principal(subject));
    Ok(request)
}

fn booked(run: usize, new: &Value) -> Response {
    let booking = json!({ "run": run, "booking": new });
    let location = HeaderValue::from_str(&format!("/bookings/{run}")).expect("a location");
    (
        StatusCode::CREATED,
        [(http::header::LOCATION, location)],
        Json(booking),
    )
        .into_response()
}

#[idempotent(ttl_seconds = 3600)]
async fn book(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    booked(probe.count(), &new)
}

async fn unprotected(State(probe): State<Probe>, body: Bytes) -> Response {
    booked(
        probe.count(),
        &String::from_utf8_lossy(&body).into_owned().into(),
    )
}

#[idempotent(ttl_seconds = 3600)]
async fn touch(State(probe): State<Probe>, Path(id): Path<String>) -> Response {
    let run = probe.count();
    match run {
        1 => StatusCode::NO_CONTENT.into_response(),
        _ => (StatusCode::NOT_FOUND, format!("{id} is gone")).into_response(),
    }
}

#[idempotent(required)]
async fn require_a_key(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    booked(probe.count(), &new)
}

#[idempotent(ttl_seconds = 3600)]
async fn stop_midway(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    let run = probe.count();
    probe.stop(run).await;
    booked(run, &new)
}

#[idempotent(ttl_seconds = 3600, on_duplicate = "wait")]
async fn stop_midway_with_waiters(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    let run = probe.count();
    probe.stop(run).await;
    booked(run, &new)
}

#[idempotent(ttl_seconds = 60, lease_seconds = 10)]
async fn take_a_short_lease(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    let run = probe.count();
    probe.stop(run).await;
    booked(run, &new)
}

#[idempotent(ttl_seconds = 3600, on_duplicate = "wait")]
async fn fail_once(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    let run = probe.count();
    probe.stop(run).await;
    match run {
        1 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        _ => booked(run, &new),
    }
}

#[idempotent(ttl_seconds = 60, lease_seconds = 3)]
async fn take_a_lease_of_three_seconds(
    State(probe): State<Probe>,
    Json(new): Json<Value>,
) -> Response {
    let run = probe.count();
    probe.stop(run).await;
    booked(run, &new)
}

#[idempotent(ttl_seconds = 60, lease_seconds = 1)]
async fn block_the_thread(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    let run = probe.count();
    probe.block();
    booked(run, &new)
}

/// Changes the only resource, once: `If-Match` must name its first version.
#[idempotent(ttl_seconds = 3600)]
async fn change_if_match(State(probe): State<Probe>, headers: HeaderMap) -> StatusCode {
    let version = format!("\"{}\"", probe.count());
    if headers
        .get("if-match")
        .is_some_and(|expected| *expected == version)
    {
        StatusCode::OK
    } else {
        StatusCode::PRECONDITION_FAILED
    }
}

/// The request, as the handler sees it.
#[idempotent]
async fn echo_back(
    State(probe): State<Probe>,
    Extension(Marker(marker)): Extension<Marker>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    probe.count();
    let mut response = Response::new(Body::from(body));
    let seen = response.headers_mut();
    for (name, value) in &headers {
        seen.append(
            format!("x-seen-{name}")
                .parse::<HeaderName>()
                .expect("a name"),
            value.clone(),
        );
    }
    seen.insert("x-seen-uri", uri.to_string().parse().expect("a value"));
    seen.insert("x-seen-marker", HeaderValue::from_static(marker));
    response
}

/// The tenant, from a header field that a gateway sets.
fn tenant(head: &Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    let tenant = head
        .headers
        .get("x-tenant")
        .ok_or("the gateway set no x-tenant")?;
    Ok(Scope::principal(tenant.to_str()?))
}

#[idempotent(scope = tenant)]
async fn ask_for_the_tenant(State(probe): State<Probe>, Json(new): Json<Value>) -> Response {
    booked(probe.count(), &new)
}

/// A fingerprint of the first half of the body only.
fn first_half(_: &Parts, body: &Bytes) -> Vec<u8> {
    body[..body.len() / 2].to_vec()
}

#[idempotent(fingerprint = first_half)]
async fn count_half(State(probe): State<Probe>, body: String) -> Response {
    booked(probe.count(), &body.into())
}
