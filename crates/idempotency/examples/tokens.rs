//! A response with a secret that is stored nowhere: a retry gets what a function makes of a stored id.
//!
//! `cargo run -p idempotency --example tokens` creates a token, sends the request again, revokes the token, and sends it once more.

use std::{
    collections::HashMap,
    error::Error,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use idempotency::{
    Idempotency, MemoryStore, ReplayWith, idempotent,
    store::{ListRequest, Phase},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The tokens by id, and whether each is active. A real service has a digest of each secret, too.
#[derive(Clone, Default)]
struct Tokens(Arc<Mutex<HashMap<u64, bool>>>);

impl Tokens {
    fn create(&self) -> (u64, String) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = tokens.len() as u64 + 1;
        tokens.insert(id, true);
        // A real service makes it with a cryptographic generator.
        let secret = RandomState::new().build_hasher().finish();
        (id, format!("secret-{secret:016x}"))
    }

    fn revoke(&self, id: u64) {
        let mut tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(id, false);
    }

    fn is_active(&self, id: u64) -> bool {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&id) == Some(&true)
    }
}

/// Only the id is stored. The body has the secret, which this client alone gets, and once.
#[idempotent(ttl_seconds = 3600, required, replay = show_token)]
async fn create_token(State(tokens): State<Tokens>) -> (StatusCode, ReplayWith<u64>, Json<Value>) {
    let (id, secret) = tokens.create();
    let body = json!({ "id": id, "secret": secret });
    (StatusCode::CREATED, ReplayWith(id), Json(body))
}

/// What a retry gets, from the id and from what is true by now.
async fn show_token(
    State(tokens): State<Tokens>,
    ReplayWith(id): ReplayWith<u64>,
) -> Result<Json<Value>, (StatusCode, String)> {
    if tokens.is_active(id) {
        Ok(Json(json!({ "id": id, "secret": null })))
    } else {
        Err((StatusCode::GONE, format!("token {id} was revoked")))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (tokens, idempotency) = (Tokens::default(), Idempotency::new(MemoryStore::new()));
    let app = Router::new()
        .route("/tokens", post(create_token))
        .with_state(tokens.clone())
        .layer(idempotency.extension());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/tokens", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());

    let client = reqwest::Client::new();
    let send = || {
        let request = client
            .post(&url)
            .header("Idempotency-Key", "\"token-for-ann\"");
        async {
            let response = request.send().await?;
            let is_replay = response.headers().contains_key("idempotent-replayed");
            let told = (
                response.status().as_u16(),
                is_replay,
                response.text().await?,
            );
            Ok::<_, reqwest::Error>(told)
        }
    };
    let (status, _, body) = send().await?;
    println!("{status}: a token, and its secret");
    let created: Value = serde_json::from_str(&body)?;
    let secret = created["secret"].as_str().ok_or("no secret")?;

    for listed in idempotency.store().list(&ListRequest::new(10)).await? {
        if let Phase::Completed { outcome } = listed.record?.phase {
            let stored = String::from_utf8_lossy(&outcome).into_owned();
            assert!(!stored.contains(secret));
            println!("stored: {:?}", stored.trim_start_matches(char::is_control));
        }
    }

    let (status, is_replay, body) = send().await?;
    println!("{status}, replayed: {body}");
    assert!(is_replay && !body.contains(secret));

    tokens.revoke(1);
    // Not marked as a replay, because the request was not refused: a token was made.
    let (status, is_replay, body) = send().await?;
    println!("{status}: {body}");
    assert!(!is_replay);
    Ok(())
}
