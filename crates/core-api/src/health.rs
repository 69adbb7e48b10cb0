//! What orchestrators ask.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Json, extract::State};
use idempotency::{
    ClaimRequest, Fingerprint, Hold, IdempotencyKey, OnLost, Scope, Store, StoreError, Token,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{app::App, error::ApiError};

/// What [`ready`] has found out by writing.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// This process's own, so that no other process's probe has the key.
    scope: Scope,
    /// When something was last written, or could not be.
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            scope: Scope::principal(format!("readyz/{}", Uuid::new_v4())),
            last: Arc::default(),
        }
    }
}

/// How long that counts. Whoever asks more often writes no more, and does not wait for a store that has just failed.
const FRESH: Duration = Duration::from_secs(1);

/// A hold that is not released is taken over by the next probe.
const LEASE: Duration = Duration::from_secs(1);

/// `GET /healthz`: the process lives.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// `GET /readyz`: the database answers, a PostgreSQL server and a SQLite file take writes, and the store of the keys takes one and
/// gives it back; writes are tried at most once a second. To read is not enough: a store that is full, or has become a replica, reads, while each write to
/// bookings is 503.
///
/// A server that only reads makes the service unready, though it could still list bookings: what it is there for are writes,
/// and a standby's bookings and keys may be out of date.
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    app.bookings.ping().await?;
    let key = IdempotencyKey::new("readyz").expect("six letters are a key");
    let hold = Hold::new(
        app.idempotency.record_id(&app.probe.scope, &key),
        Token::random(),
        LEASE,
        LEASE,
    )
    .with_scope(app.idempotency.scope_id(&app.probe.scope));
    let store = app.idempotency.store();
    // What a look shows is shown at once.
    store.inspect(&hold.id).await?;
    let mut last = app.probe.last.lock().await;
    match *last {
        Some((at, true)) if at.elapsed() < FRESH => {}
        Some((at, false)) if at.elapsed() < FRESH => {
            return Err(StoreError::unavailable("it took no write a moment ago").into());
        }
        _ => {
            let written = try_to_write(&app, &hold).await;
            *last = Some((Instant::now(), written.is_ok()));
            written?;
        }
    }
    Ok(Json(json!({"status": "ready"})))
}

async fn try_to_write(app: &App, hold: &Hold) -> Result<(), ApiError> {
    // The keys may be elsewhere.
    app.bookings.try_to_write().await?;
    take_a_key(app.idempotency.store(), hold).await?;
    Ok(())
}

async fn take_a_key(store: &dyn Store, hold: &Hold) -> Result<(), StoreError> {
    let asked = Fingerprint::of([b"readyz".as_slice()]);
    store
        .claim(ClaimRequest::new(hold, &asked, OnLost::TakeOver))
        .await?;
    store.release(hold).await?;
    Ok(())
}
