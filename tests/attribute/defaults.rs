//! The engine's defaults, for handlers and layers that leave an option out.

#![deny(warnings)]

use std::{collections::HashMap, error::Error, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{FromRequestParts, Request},
    http::{StatusCode, request::Parts},
    middleware::map_request,
    routing::post,
};
use idempotency::{
    Clock, Fingerprint, Idempotency, IdempotencyKey, IdempotencyLayer, MemoryStore, Options,
    Principal, Run, RunError, Scope, idempotent,
    options::{Keep, RunMode},
};
use tower::ServiceExt;

use crate::support::send;

#[idempotent]
async fn plain() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

#[idempotent(ttl_seconds = 1000)]
async fn own_ttl() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn layered() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

const DEFAULTS: Options = Options::new()
    .ttl(Duration::from_secs(100))
    .keep(Keep::All)
    .required();

fn app(clock: &Clock) -> (Router, Idempotency) {
    let store = MemoryStore::new().with_clock(clock.clone());
    let idempotency = Idempotency::builder(store).with_defaults(DEFAULTS).build();
    let layer = |options| IdempotencyLayer::new(idempotency.clone()).with_options(options);
    let app = Router::new()
        .route("/plain", post(plain))
        .route("/own-ttl", post(own_ttl))
        .layer(Extension(idempotency.clone()))
        .route("/layered", post(layered).layer(layer(Options::new())))
        .route(
            "/final",
            post(layered).layer(layer(Options::new().keep(Keep::Final))),
        );
    (app, idempotency)
}

// proves: failure-stored-on-request, replayed-until-ttl, missing-required-key-refused
#[tokio::test]
async fn what_an_attribute_or_layer_says_nothing_of_is_as_the_engine_has_it() {
    let clock = Clock::manual();
    let (app, _) = app(&clock);
    let replayed = async |path| send(&app, "POST", path, path, "{}").await.is_replay();
    for path in ["/plain", "/own-ttl", "/layered"] {
        assert!(!replayed(path).await, "{path}");
        // `keep` comes from the engine, even where the handler sets its own ttl.
        assert!(replayed(path).await, "{path}");
        let keyless = http::Request::post(path).body(Body::empty());
        let keyless = app.clone().oneshot(keyless.expect("a request")).await;
        let status = keyless.expect("a response").status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
    }
    for _ in 0..2 {
        assert!(!replayed("/final").await, "the layer's own word counts");
    }
    clock.advance(Duration::from_secs(200));
    assert!(!replayed("/plain").await);
    assert!(!replayed("/layered").await);
    assert!(replayed("/own-ttl").await);
}

#[tokio::test]
async fn work_without_http_goes_by_the_engines_ttl_and_never_by_its_transactions() {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let defaults = DEFAULTS.mode(RunMode::Transactional);
    let idempotency = Idempotency::builder(store).with_defaults(defaults).build();
    let key = IdempotencyKey::new("k").expect("a key");
    let run = async || {
        let fingerprint = Fingerprint::of([b"work".as_slice()]);
        let work = async { Ok::<_, StatusCode>(1) };
        idempotency
            .run(&Scope::anonymous(), &key, fingerprint, work)
            .await
    };
    assert!(matches!(run().await, Ok(Run::Executed(1))));
    assert!(matches!(run().await, Ok(Run::Replayed(1))));
    clock.advance(Duration::from_secs(200));
    assert!(matches!(run().await, Ok(Run::Executed(1))));
    let fingerprint = Fingerprint::of([b"other work".as_slice()]);
    let key = IdempotencyKey::new("other").expect("a key");
    let work = |_| async { Ok::<_, StatusCode>(1) };
    let (options, scope) = (Options::new(), Scope::anonymous());
    let run = idempotency.run_with(&options, &scope, &key, fingerprint, work);
    assert!(
        matches!(run.await, Err(RunError::Rejected(_))),
        "it has not committed"
    );
}

/// The scope of a request with this header field.
fn named(head: &Parts, field: &str) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    let name = head.headers.get(field).ok_or("no name")?;
    Ok(Scope::principal(name.to_str()?))
}

#[idempotent]
async fn engines() {}

#[idempotent(scope = by_attribute)]
async fn attributes() {}

fn by_attribute(head: &Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    named(head, "x-attribute")
}

struct Claims(String);

impl<S: Sync> FromRequestParts<S> for Claims {
    type Rejection = StatusCode;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let name = head
            .headers
            .get("x-claims")
            .ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self(name.to_str().unwrap_or_default().to_owned()))
    }
}

impl Principal for Claims {
    fn scope(&self) -> Scope {
        Scope::principal(&self.0)
    }
}

#[idempotent(principal = Claims)]
async fn proved(_claims: Claims) {}

/// Which of these fields tells callers with this key apart: a change of any other leaves the caller the same.
async fn deciding<'a>(app: &Router, path: &str, fields: &[&'a str]) -> Vec<&'a str> {
    let is_replayed = async |changed: Option<&str>| {
        let request = fields
            .iter()
            .fold(http::Request::post(path), |request, field| {
                let name = if changed == Some(*field) {
                    "bob"
                } else {
                    "ann"
                };
                request.header(*field, name)
            });
        let request = request
            .header("idempotency-key", format!("\"{path}\""))
            .body(Body::empty());
        let response = app.clone().oneshot(request.expect("a request")).await;
        let response = response.expect("a response");
        assert_eq!(response.status(), StatusCode::OK, "{path} {changed:?}");
        response.headers().contains_key("idempotent-replayed")
    };
    assert!(!is_replayed(None).await, "{path}");
    let mut deciding = Vec::new();
    for field in fields {
        if !is_replayed(Some(field)).await {
            deciding.push(*field);
        }
    }
    deciding
}

// proves: principals-are-separate
#[tokio::test]
async fn an_engine_says_whose_key_it_is_where_the_handler_does_not() {
    let fields = [
        "x-claims",
        "x-attribute",
        "x-default",
        "x-engine",
        "x-layer",
        "x-api-key",
    ];
    let around = |idempotency: Idempotency| {
        let extended = map_request(async |request: Request| {
            let (mut parts, body) = request.into_parts();
            let scope = named(&parts, "x-layer").expect("a name");
            parts.extensions.insert(scope);
            Request::from_parts(parts, body)
        });
        let layered = Router::new()
            .route("/layered", post(async || ()))
            .layer(IdempotencyLayer::new(idempotency.clone()));
        Router::new()
            .route("/engines", post(engines))
            .route("/attributes", post(attributes))
            .route("/proved", post(proved))
            .layer(Extension(idempotency))
            .merge(layered)
            .layer(extended)
    };
    // A closure that captures state, which a function pointer could not.
    let names: HashMap<_, _> = [("engine", "x-engine")].into();
    let by_engine = move |head: &Parts| named(head, names["engine"]);
    let builder = || Idempotency::builder(MemoryStore::new());

    let app = around(builder().with_scope(by_engine.clone()).build());
    assert_eq!(deciding(&app, "/engines", &fields).await, ["x-engine"]);
    assert_eq!(deciding(&app, "/layered", &fields).await, ["x-engine"]);
    assert_eq!(
        deciding(&app, "/attributes", &fields).await,
        ["x-attribute"]
    );
    assert_eq!(deciding(&app, "/proved", &fields).await, ["x-claims"]);

    let defaults = Options::new().scope(|head| named(head, "x-default"));
    let app = around(
        builder()
            .with_defaults(defaults)
            .with_scope(by_engine)
            .build(),
    );
    assert_eq!(deciding(&app, "/engines", &fields).await, ["x-default"]);
    assert_eq!(deciding(&app, "/proved", &fields).await, ["x-claims"]);
}
