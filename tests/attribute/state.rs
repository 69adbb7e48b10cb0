//! An engine in the router's state.

#![deny(warnings)]

use axum::{
    Router,
    extract::{FromRef, FromRequestParts, State},
    http::{StatusCode, request::Parts},
    routing::post,
};
use idempotency::{Idempotency, MemoryStore, Principal, Scope, idempotent, store::ListRequest};

use crate::support::{runs_once, send};

#[derive(Clone)]
struct App {
    hotel: &'static str,
    idempotency: Idempotency,
}

impl FromRef<App> for Idempotency {
    fn from_ref(app: &App) -> Self {
        app.idempotency.clone()
    }
}

struct Claims(&'static str);

impl FromRequestParts<App> for Claims {
    type Rejection = StatusCode;

    async fn from_request_parts(_: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        Ok(Self(app.hotel))
    }
}

impl Principal for Claims {
    fn scope(&self) -> Scope {
        Scope::principal(self.0)
    }
}

#[idempotent(engine = "state")]
async fn part(State(app): State<App>) -> &'static str {
    app.hotel
}

#[idempotent(engine = "state", ttl_seconds = 60)]
async fn whole() -> &'static str {
    "whole"
}

#[idempotent(principal = Claims, engine = "state")]
async fn proved(claims: Claims) -> String {
    format!("proved: {}", claims.0)
}

#[idempotent]
async fn extended() -> &'static str {
    "extended"
}

/// A handler that does not use the state, in a router with any state.
fn generic<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/extended", post(extended))
}

async fn records(idempotency: &Idempotency) -> usize {
    let listed = idempotency.store().list(&ListRequest::new(100)).await;
    listed.expect("a list").len()
}

#[tokio::test]
async fn a_handler_takes_its_engine_from_the_state() {
    let [in_state, in_whole, in_extensions] =
        std::array::from_fn(|_| Idempotency::new(MemoryStore::new()));
    let whole_state = Router::new()
        .route("/whole", post(whole))
        .with_state(in_whole.clone());
    let app = Router::new()
        .route("/part", post(part))
        .route("/proved", post(proved))
        .merge(generic())
        .with_state(App {
            hotel: "Ritz",
            idempotency: in_state.clone(),
        })
        .nest("/nested", whole_state)
        .layer(in_extensions.extension());
    assert_eq!(runs_once(&app, "/part").await, "Ritz");
    assert_eq!(runs_once(&app, "/proved").await, "proved: Ritz");
    assert_eq!(records(&in_state).await, 2);
    assert_eq!(runs_once(&app, "/nested/whole").await, "whole");
    assert_eq!(records(&in_whole).await, 1);
    assert_eq!(runs_once(&app, "/extended").await, "extended");
    assert_eq!(records(&in_extensions).await, 1);
}

#[tokio::test]
async fn a_router_without_the_engine_says_what_is_missing() {
    let response = send(&generic().with_state(()), "POST", "/extended", "k", "").await;
    assert_eq!(response.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        response.text().contains(".layer(idempotency.extension())"),
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn a_unit_test_calls_a_handler_whose_engine_is_in_the_state() {
    assert_eq!(whole().await, "whole");
    assert_eq!(proved(Claims("Ritz")).await, "proved: Ritz");
}
