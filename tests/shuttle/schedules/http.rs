//! Whole requests to a router, without a network: bodies come in pieces, and a client that leaves drops its request.

use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::{StreamExt, stream};
use idempotency::{Idempotency, IdempotencyLayer, Store, idempotent};
use tokio::{spawn, task::yield_now};
use tower::ServiceExt;

use crate::{
    client::leave_after,
    ledger::Ledger,
    search::{search, search_leaving},
    world::{KEY, OPTIONS, World, scope},
};

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    pub(crate) is_replay: bool,
}

/// What a handler does.
#[derive(Clone)]
struct Work {
    ledger: Ledger,
    /// Whether the first run fails.
    fails: bool,
}

/// How requests are protected.
#[derive(Clone, Copy, Debug)]
enum Protection {
    Attribute,
    Layer,
}

/// The engine of a process that serves HTTP.
pub(crate) fn serving(store: impl Store) -> Idempotency {
    Idempotency::builder(store)
        .with_scope(|_| Ok(scope()))
        .build()
}

/// Ends a process. What its engine does in the background ends with the last handle on it.
pub(crate) async fn stop(engine: Idempotency, app: Router) {
    drop(app);
    engine.shutdown().await;
}

/// A request with the key, until its response has been read.
pub(crate) async fn send(app: Router) -> Received {
    let request = Request::post("/bookings")
        .header("idempotency-key", format!("\"{KEY}\""))
        .body(in_pieces(["a room", " for two"]));
    let request = request.expect("a request");
    let response = match app.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.expect("a whole body");
    Received {
        status: head.status,
        body: String::from_utf8(body.into()).expect("a text"),
        is_replay: head.headers.contains_key("idempotent-replayed"),
    }
}

/// A body, of which each piece is waited for.
pub(crate) fn in_pieces<const N: usize>(pieces: [impl Into<String>; N]) -> Body {
    let pieces = pieces.map(Into::into);
    Body::from_stream(stream::iter(pieces).then(|piece: String| async move {
        yield_now().await;
        Ok::<_, Infallible>(piece)
    }))
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 4, on_duplicate = "wait")]
async fn book(State(work): State<Work>, booking: String) -> Response {
    work.book(booking).await
}

async fn book_plainly(State(work): State<Work>, booking: String) -> Response {
    work.book(booking).await
}

impl Work {
    async fn book(&self, booking: String) -> Response {
        assert_eq!(booking, "a room for two");
        let begun = self.ledger.begin(KEY);
        yield_now().await;
        if self.fails && begun.number == 1 {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        let number = begun.has_effect().to_string();
        (StatusCode::CREATED, in_pieces(["booking ", &number])).into_response()
    }
}

impl Protection {
    const ALL: [Self; 2] = [Self::Attribute, Self::Layer];

    fn app(self, world: &World, engine: &Idempotency, fails: bool) -> Router {
        let ledger = world.ledger.clone();
        let work = Work { ledger, fails };
        match self {
            Self::Attribute => Router::new()
                .route("/bookings", post(book))
                .layer(engine.extension())
                .with_state(work),
            Self::Layer => Router::new()
                .route("/bookings", post(book_plainly))
                .layer(IdempotencyLayer::new(engine.clone()).with_options(OPTIONS))
                .with_state(work),
        }
    }
}

/// The response of the only run that has had its effect.
#[track_caller]
fn assert_booked(received: &Received) {
    assert_eq!(
        (received.status, received.body.as_str()),
        (StatusCode::CREATED, "booking 1"),
        "{received:?}"
    );
}

// proves: schedules-keep-promises
#[test]
fn all_requests_get_one_response() {
    search(async |speed| {
        for protection in Protection::ALL {
            let world = World::new(speed);
            let engine = serving(world.store.clone());
            let app = protection.app(&world, &engine, false);
            let clients = [(); 3].map(|()| spawn(send(app.clone())));
            let mut executed = 0;
            for client in clients {
                let received = client.await.expect("no abort");
                assert_booked(&received);
                executed += u32::from(!received.is_replay);
            }
            let page = world.ledger.page(KEY);
            assert_eq!((executed, page.begun, page.most_at_once), (1, 1, 1));
            stop(engine, app).await;
            world.end().await;
        }
    });
}

// proves: schedules-keep-promises
#[test]
fn a_request_that_waits_runs_once_the_one_before_has_failed() {
    search(async |speed| {
        for protection in Protection::ALL {
            let world = World::new(speed);
            let engine = serving(world.store.clone());
            let app = protection.app(&world, &engine, true);
            let clients = [(); 3].map(|()| spawn(send(app.clone())));
            let mut failed = 0;
            for client in clients {
                let received = client.await.expect("no abort");
                if received.status == StatusCode::INTERNAL_SERVER_ERROR {
                    failed += 1;
                } else {
                    assert_booked(&received);
                }
            }
            let page = world.ledger.page(KEY);
            assert_eq!((failed, page.begun, page.most_at_once), (1, 2, 1));
            stop(engine, app).await;
            world.end().await;
        }
    });
}

/// It leaves while it sends its request, waits for its response, or reads that.
#[track_caller]
fn a_client_leaves(protection: Protection) {
    search_leaving(move |speed, polls| async move {
        let world = World::new(speed);
        let engine = serving(world.store.clone());
        let app = protection.app(&world, &engine, false);
        let leaver = spawn(leave_after(polls, send(app.clone())));
        let stayer = spawn(send(app.clone()));
        let received = leaver.await.expect("no abort");
        let left = received.is_none();
        let stays = stayer.await.expect("no abort");
        let retried = send(app.clone()).await;
        received
            .iter()
            .chain([&stays, &retried])
            .for_each(assert_booked);
        assert!(retried.is_replay);
        let page = world.ledger.page(KEY);
        assert_eq!((page.begun, page.most_at_once), (1, 1));
        stop(engine, app).await;
        world.end().await;
        left
    });
}

// proves: schedules-keep-promises, run-survives-client-leaving
#[test]
fn a_client_that_disconnects_keeps_the_key_from_nobody() {
    a_client_leaves(Protection::Attribute);
}

// proves: schedules-keep-promises, run-survives-client-leaving
#[test]
fn a_client_that_disconnects_from_a_layer_keeps_the_key_from_nobody() {
    a_client_leaves(Protection::Layer);
}
