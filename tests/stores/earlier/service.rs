//! A service whose runs end, or leave something undone as the process does that dies.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Extension, Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header::LOCATION};
use idempotency::{
    Disposition, Execution, Idempotency, IdempotencyKey, Label, ReplayWith, Scope, StepError,
    Store, idempotent, operators::KeyChange,
};
use reqwest::{Client, RequestBuilder};
use serde::{Deserialize, Serialize};
use tests::reply::Reply;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::{JoinHandle, spawn},
};

use crate::within_a_minute;

/// By this an operator finds the caller's keys.
pub(super) const CALLER: &str = "account/42";

/// What a request asks for. A service that leaves things undone does what each says; the other does all of them to their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Work {
    Book,
    /// Like a booking: its response is erased afterwards.
    BeErased,
    /// Its response is not stored.
    KeepQuiet,
    /// Its response is rebuilt from a value.
    Rebuild,
    /// Its run never ends.
    Stop,
    StopAfterStep,
    /// Its key is freed.
    Fail,
    /// Its hold is suspended.
    FailAfterStep,
}

impl Work {
    fn path(self) -> &'static str {
        match self {
            Self::Rebuild => "/rebuilt",
            _ => "/jobs",
        }
    }

    /// The key under which it is requested.
    fn key(self) -> String {
        format!("the key of {self:?}")
    }

    /// The body of its response, not all of which is text. Only some work has a step.
    pub(super) fn body(self, attempt: u32, by: &str, receipt_by: &str) -> Vec<u8> {
        let mut body = format!("{self:?}, attempt {attempt}, by {by}").into_bytes();
        if let Self::StopAfterStep | Self::FailAfterStep = self {
            body.extend(format!(", receipt of {receipt_by}").into_bytes());
        }
        body.extend([0, 0xff]);
        body
    }
}

#[derive(Clone)]
struct App(Arc<Inner>);

struct Inner {
    by: String,
    leaves_undone: bool,
    runs: AtomicUsize,
    receipts: AtomicUsize,
    stopped: Semaphore,
}

#[idempotent(ttl_seconds = 315_360_000, lease_seconds = 1)]
async fn carry_out(
    State(App(app)): State<App>,
    execution: Execution,
    Json(work): Json<Work>,
) -> Result<Response, StepError<StatusCode>> {
    app.runs.fetch_add(1, Ordering::SeqCst);
    let mut receipt_by = String::new();
    if let Work::StopAfterStep | Work::FailAfterStep = work {
        let charging = Arc::clone(&app);
        let charge = async move {
            charging.receipts.fetch_add(1, Ordering::SeqCst);
            Ok(charging.by.clone())
        };
        receipt_by = execution.step("charge", charge).await?;
    }
    match work {
        Work::Stop | Work::StopAfterStep if app.leaves_undone => {
            app.stopped.add_permits(1);
            pending::<()>().await;
        }
        Work::Fail | Work::FailAfterStep if app.leaves_undone => {
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        _ => {}
    }
    let body = work.body(execution.attempt(), &app.by, &receipt_by);
    let response = (StatusCode::CREATED, [(LOCATION, "/jobs/7")], body);
    Ok(match work {
        Work::KeepQuiet => (Extension(Disposition::Tombstone), response).into_response(),
        _ => response.into_response(),
    })
}

#[idempotent(ttl_seconds = 315_360_000, lease_seconds = 1, replay = show_again)]
async fn create_shown_once(
    State(App(app)): State<App>,
) -> (StatusCode, ReplayWith<String>, &'static str) {
    app.runs.fetch_add(1, Ordering::SeqCst);
    (
        StatusCode::CREATED,
        ReplayWith(app.by.clone()),
        "shown once",
    )
}

async fn show_again(ReplayWith(by): ReplayWith<String>) -> String {
    format!("shown to a retry: {by}")
}

/// A process of a service, and a client of it.
pub(super) struct Service {
    url: String,
    client: Client,
    idempotency: Idempotency,
    app: App,
    server: JoinHandle<()>,
}

impl Service {
    /// Its runs end as the work says.
    pub(super) async fn leaving(store: &Arc<dyn Store>, secret: Option<&str>, by: &str) -> Self {
        Self::start(store, secret, by, true).await
    }

    /// Its runs come to their end.
    pub(super) async fn finishing(store: &Arc<dyn Store>, secret: Option<&str>, by: &str) -> Self {
        Self::start(store, secret, by, false).await
    }

    async fn start(
        store: &Arc<dyn Store>,
        secret: Option<&str>,
        by: &str,
        leaves_undone: bool,
    ) -> Self {
        let builder = Idempotency::builder(Arc::clone(store));
        let idempotency = match secret {
            Some(secret) => builder.with_secret(secret.as_bytes()),
            None => builder,
        }
        .build();
        let app = App(Arc::new(Inner {
            by: by.to_owned(),
            leaves_undone,
            runs: AtomicUsize::new(0),
            receipts: AtomicUsize::new(0),
            stopped: Semaphore::new(0),
        }));
        let router = Router::new()
            .route("/jobs", post(carry_out))
            .route("/rebuilt", post(create_shown_once))
            .with_state(app.clone())
            .layer(Extension(idempotency.clone()))
            .layer(Extension(scope()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        Self {
            url: format!("http://{address}"),
            client: Client::new(),
            idempotency,
            app,
            server: spawn(async move { axum::serve(listener, router).await.expect("a server") }),
        }
    }

    /// Sends the request under its key, and waits until it may run.
    pub(super) async fn send(&self, work: Work) -> Reply {
        self.send_as(work, work).await
    }

    /// Sends the request under the key of another one.
    pub(super) async fn send_as(&self, key_of: Work, work: Work) -> Reply {
        Reply::to(self.request(key_of, work)).await
    }

    /// Returns once the request's run has stopped.
    pub(super) async fn begin(&self, work: Work) {
        let request = self.request(work, work);
        spawn(async move { request.send().await });
        let stopped = self.app.0.stopped.acquire();
        let stopped = within_a_minute("a run that stops", stopped).await;
        stopped.expect("an open semaphore").forget();
    }

    fn request(&self, key_of: Work, work: Work) -> RequestBuilder {
        self.client
            .post(format!("{}{}", self.url, work.path()))
            .header("Idempotency-Key", format!("\"{}\"", key_of.key()))
            .header("Prefer", "wait=60")
            .json(&work)
    }

    /// Erases the stored response, as an operator does.
    pub(super) async fn erase(&self, work: Work) {
        let key = IdempotencyKey::new(&work.key()).expect("a key");
        let id = self.idempotency.record_id(&scope(), &key);
        let erased = self.idempotency.erase(&id).await;
        assert_eq!(erased.ok(), Some(KeyChange::Made));
    }

    /// How many handlers have run.
    pub(super) fn runs(&self) -> usize {
        self.app.0.runs.load(Ordering::SeqCst)
    }

    /// How many steps have run.
    pub(super) fn receipts(&self) -> usize {
        self.app.0.receipts.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn scope() -> Scope {
    Scope::principal("ann").labelled(Label::text(CALLER))
}
