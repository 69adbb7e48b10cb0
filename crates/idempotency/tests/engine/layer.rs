//! The layer around a service that is not an axum router, for requests with another body type.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Options, options::RunMode};
use tower::{Layer, Service, ServiceExt};

/// Responds with its run's number and the request's body. A clone must be polled until it is ready.
#[derive(Clone, Default)]
struct Plain {
    runs: Arc<AtomicUsize>,
    ready: Ready,
}

#[derive(Default)]
struct Ready(bool);

impl Clone for Ready {
    fn clone(&self) -> Self {
        Self(false)
    }
}

impl Service<Request<Body>> for Plain {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready.0 = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        assert!(self.ready.0, "it was not asked whether it is ready");
        self.ready.0 = false;
        let run = self.runs.fetch_add(1, Ordering::SeqCst) + 1;
        Box::pin(async move {
            let status = match request.uri().path() {
                "/nowhere" => StatusCode::NOT_FOUND,
                _ => StatusCode::CREATED,
            };
            let body = request.into_body().collect().await.expect("a body");
            let body = [format!("{run}: ").as_bytes(), &body.to_bytes()].concat();
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

async fn send<S>(service: &mut S, path: &str, body: &'static str) -> (StatusCode, bool, Bytes)
where
    S: Service<Request<Full<Bytes>>, Response = Response<Body>, Error = Infallible>,
{
    let request = Request::post(path)
        .header("idempotency-key", "k")
        .body(Full::from(body))
        .expect("a request");
    let Ok(service) = service.ready().await;
    let Ok(response) = service.call(request).await;
    let replayed = response.headers().contains_key("idempotent-replayed");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body");
    (status, replayed, body.to_bytes())
}

// proves: post-and-patch-protected, other-body-refused, first-response-unmarked, replay-keeps-body
#[tokio::test]
async fn any_service_can_be_protected() {
    let plain = Plain::default();
    let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()));
    let mut service = layer.layer(plain.clone());
    let created = StatusCode::CREATED;
    let first = send(&mut service, "/bookings", "Ann").await;
    assert_eq!(first, (created, false, "1: Ann".into()));
    let again = send(&mut service, "/bookings", "Ann").await;
    assert_eq!(again, (created, true, "1: Ann".into()));
    let (status, replayed, _) = send(&mut service, "/bookings", "Bob").await;
    assert_eq!(
        (status, replayed),
        (StatusCode::UNPROCESSABLE_ENTITY, false)
    );
    assert_eq!(plain.runs.load(Ordering::SeqCst), 1);
}

// proves: handler-refusals-stored
#[tokio::test]
async fn a_404_of_a_service_without_routes_leaves_no_record() {
    let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()));
    let mut service = layer.layer(Plain::default());
    let first = send(&mut service, "/nowhere", "").await;
    assert_eq!(first, (StatusCode::NOT_FOUND, false, "1: ".into()));
    let again = send(&mut service, "/nowhere", "").await;
    assert_eq!(again, (StatusCode::NOT_FOUND, false, "2: ".into()));
}

// proves: first-response-unmarked, finite-stream-stored-whole, handler-sees-original-request
#[tokio::test]
async fn trailers_reach_the_service_and_the_first_client_and_no_replay() {
    let service = tower::service_fn(async |request: Request<Body>| {
        let body = request.into_body().collect().await.expect("a body");
        let trailers = body.trailers().cloned();
        let body = Full::new(body.to_bytes());
        Ok::<_, Infallible>(Response::new(Body::new(
            body.with_trailers(async { trailers.map(Ok) }),
        )))
    });
    let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()));
    let service = layer.layer(service);
    for replayed in [false, true] {
        let trailers = HeaderMap::from_iter([(
            HeaderName::from_static("x-checksum"),
            HeaderValue::from_static("7"),
        )]);
        let body = Full::<Bytes>::from("whole").with_trailers(async { Some(Ok(trailers)) });
        let request = Request::post("/")
            .header("idempotency-key", "k")
            .body(body)
            .expect("a request");
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(
            response.headers().contains_key("idempotent-replayed"),
            replayed
        );
        let body = response.into_body().collect().await.expect("a body");
        let trailer = body
            .trailers()
            .and_then(|trailers| trailers.get("x-checksum"));
        assert_eq!(trailer.is_some(), !replayed);
        assert_eq!(body.to_bytes(), "whole");
    }
}

// proves: hold-lives-by-renewal, crash-locks-for-ttl
#[tokio::test(start_paused = true)]
async fn a_transactional_run_that_hangs_gives_its_key_up_in_the_end() {
    let runs = Arc::new(AtomicUsize::new(0));
    let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()))
        .with_options(Options::new().mode(RunMode::Transactional));
    let service = layer.layer(tower::service_fn({
        let runs = Arc::clone(&runs);
        move |_: Request<Body>| {
            let run = runs.fetch_add(1, Ordering::SeqCst);
            async move {
                if run == 0 {
                    std::future::pending::<()>().await;
                }
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::BAD_REQUEST;
                Ok::<_, Infallible>(response)
            }
        }
    }));
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    let mut hanging = tokio::spawn(send_once(service.clone()));
    let early = tokio::time::timeout(day / 2, &mut hanging).await;
    assert!(early.is_err());
    let duplicate = send_once(service.clone()).await;
    assert_eq!(duplicate.status(), StatusCode::CONFLICT);
    tokio::time::advance(day / 2).await;
    let next = send_once(service.clone()).await;
    assert_eq!(next.status(), StatusCode::BAD_REQUEST);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert!(!hanging.is_finished());
}

async fn send_once<S>(service: S) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let request = Request::post("/").header("idempotency-key", "k");
    let request = request.body(Body::empty()).expect("a request");
    let Ok(response) = service.oneshot(request).await;
    response
}
