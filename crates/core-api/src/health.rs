//! What orchestrators ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State};
use idempotency::{Fingerprint, Hold, IdempotencyKey, OnLost, RecordId, Scope, Token};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{app::App, error::ApiError};

/// When a key was last taken for [`ready`].
pub(crate) type LastTaken = Arc<Mutex<Option<Instant>>>;

/// How long that counts. Whoever asks more often writes no more.
const FRESH: Duration = Duration::from_secs(1);

/// A hold that is not released is taken over by the next probe.
const LEASE: Duration = Duration::from_secs(1);

/// `GET /healthz`: the process lives.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// `GET /readyz`: the database answers, a PostgreSQL server takes writes, and the store of the keys takes one and gives it back, at
/// most once a second. To read is not enough: a store that is full, or has become a replica, reads, while each write to
/// bookings is 503.
///
/// A server that only reads makes the service unready, though it could still list bookings: what it is there for are writes,
/// and a standby's bookings and keys may be out of date.
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    app.bookings.ping().await?;
    let key = IdempotencyKey::new("readyz").expect("six letters are a key");
    let id = app.idempotency.record_id(&Scope::principal("readyz"), &key);
    // What a look shows is shown at once.
    app.idempotency.store().inspect(&id).await?;
    let mut last_taken = app.last_taken.lock().await;
    if last_taken.is_none_or(|taken| taken.elapsed() >= FRESH) {
        take_a_key(&app, id).await?;
        *last_taken = Some(Instant::now());
    }
    Ok(Json(json!({"status": "ready"})))
}

async fn take_a_key(app: &App, id: RecordId) -> Result<(), ApiError> {
    let hold = Hold {
        id,
        token: Token::random(),
        lease: LEASE,
        ttl: LEASE,
    };
    let asked = Fingerprint::of([b"readyz".as_slice()]);
    let store = app.idempotency.store();
    // Another process's probe may have it, which is as good: that one writes.
    store.claim(&hold, &asked, OnLost::TakeOver).await?;
    store.release(&hold).await?;
    Ok(())
}
