//! The payment provider: a service of another company, which charges once for each `Idempotency-Key`.

use std::sync::Arc;

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::post,
};
use idempotency::{Idempotency, MemoryStore, idempotent};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) euros: u32,
}

/// What the provider has done, which it keeps in memory: it does not crash here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    requests: usize,
    charges: Vec<Charge>,
}

impl Ledger {
    /// How often the provider was asked to charge.
    pub(crate) fn requests(&self) -> usize {
        self.0.lock().requests
    }

    /// What it has charged.
    pub(crate) fn charges(&self) -> Vec<Charge> {
        self.0.lock().charges.clone()
    }
}

pub(crate) fn app(ledger: Ledger) -> Router {
    Router::new()
        .route("/charges", post(charge))
        .layer(Extension(Idempotency::new(MemoryStore::new())))
        // Outermost, so that it counts the replays too.
        .layer(from_fn_with_state(ledger.clone(), count))
        .with_state(ledger)
}

/// Takes the money. Without a key it does not, because the caller could not safely repeat the request.
#[idempotent(required)]
async fn charge(
    State(ledger): State<Ledger>,
    Json(euros): Json<u32>,
) -> (StatusCode, Json<Charge>) {
    let charges = &mut ledger.0.lock().charges;
    let charge = Charge {
        id: format!("charge-{}", charges.len() + 1),
        euros,
    };
    charges.push(charge.clone());
    (StatusCode::CREATED, Json(charge))
}

async fn count(State(ledger): State<Ledger>, request: Request, next: Next) -> Response {
    ledger.0.lock().requests += 1;
    next.run(request).await
}
