//! A whole router behind `IdempotencyLayer`. Keys belong to the caller that a verified token names.
//!
//! `cargo run --example layer -p idempotency`

use std::sync::atomic::{AtomicU64, Ordering};
use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::{get, post},
};
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Options, Scope};
use tokio::net::TcpListener;

/// The valid tokens, and the subject of each. A real service verifies a signature in their place.
type Sessions = Arc<HashMap<&'static str, &'static str>>;

type Orders = Arc<AtomicU64>;

fn app(sessions: Sessions) -> Router {
    let idempotency = Idempotency::new(MemoryStore::new());
    let options = Options::new().required().ttl(Duration::from_secs(3600));
    Router::new()
        .route("/orders", get(count).post(order))
        .route("/orders/{id}/refunds", post(refund))
        .with_state(Orders::default())
        // Every POST and PATCH above needs a key; GET passes.
        .layer(IdempotencyLayer::new(idempotency).with_options(options))
        // Outermost, so that it runs before every replay too.
        .layer(from_fn_with_state(sessions, authenticate))
}

/// Tells the layer whose keys these are. With a new token the subject is the same, and so are the keys.
async fn authenticate(
    State(sessions): State<Sessions>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let authorization = request.headers().get(AUTHORIZATION);
    let token = authorization.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let subject = token.and_then(|token| sessions.get(token));
    let scope = Scope::principal(subject.ok_or(StatusCode::UNAUTHORIZED)?);
    request.extensions_mut().insert(scope);
    Ok(next.run(request).await)
}

async fn order(State(orders): State<Orders>) -> (StatusCode, Json<u64>) {
    let id = orders.fetch_add(1, Ordering::Relaxed) + 1;
    (StatusCode::CREATED, Json(id))
}

async fn refund(Path(id): Path<u64>) -> String {
    format!("order {id} is refunded")
}

async fn count(State(orders): State<Orders>) -> Json<u64> {
    Json(orders.load(Ordering::Relaxed))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions = [("token-1", "ann"), ("token-2", "ann"), ("token-3", "bob")];
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app(Arc::new(sessions.into()))).into_future());

    let client = reqwest::Client::new();
    // Sends a POST, and returns its status, its body, and whether it is a replay.
    let send = async |token: &str, path: &str, key: Option<&str>| {
        let mut request = client.post(format!("{server}{path}")).bearer_auth(token);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let response = request.send().await?;
        let is_replay = response.headers().contains_key("Idempotent-Replayed");
        let status = response.status().as_u16();
        let body = response.text().await?;
        println!("{token}, POST {path}, key {key:?}: {status}, replayed: {is_replay}, {body}");
        Ok::<_, reqwest::Error>((status, body, is_replay))
    };

    let (orders, key) = ("/orders", Some("\"k1\""));
    let first = (201, "1".to_owned(), false);
    let replay = (201, "1".to_owned(), true);
    assert_eq!(send("token-1", orders, key).await?, first);
    assert_eq!(send("token-1", orders, key).await?, replay);
    // Ann's next token is the same caller. Bob has keys of his own, and a stranger none.
    assert_eq!(send("token-2", orders, key).await?, replay);
    let of_bob = (201, "2".to_owned(), false);
    assert_eq!(send("token-3", orders, key).await?, of_bob);
    assert_eq!(send("token-4", orders, key).await?.0, 401);
    // One key stands for one request, on whatever route, and each POST has to have one.
    let refunds = "/orders/1/refunds";
    assert_eq!(send("token-1", refunds, key).await?.0, 422);
    assert_eq!(send("token-1", refunds, None).await?.0, 400);
    assert_eq!(send("token-1", refunds, Some("\"k2\"")).await?.0, 200);

    let count = client.get(format!("{server}/orders"));
    let count = count.bearer_auth("token-1").send().await?.text().await?;
    assert_eq!(count, "2", "five requests for an order, and two orders");
    Ok(())
}
