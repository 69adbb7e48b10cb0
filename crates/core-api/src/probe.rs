//! Determines by a write whether bookings can be written.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, OnLost, Scope, Store,
    store::{ClaimRequest, Hold, StoreError, Token},
};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{database::Bookings, error::ApiError};

/// A write that leaves nothing behind, made at most once a second.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// A key of this process's own, so that probes of other processes do not hold it.
    scope: Scope,
    /// The time and result of the last write.
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

/// How long the last result is used. A probe within this time writes nothing, and does not wait for a store that has just failed.
const MAX_AGE: Duration = Duration::from_secs(1);

/// If a hold is not released, the next probe takes it over.
const LEASE: Duration = Duration::from_secs(1);

impl Default for Probe {
    fn default() -> Self {
        Self {
            scope: Scope::principal(format!("readyz/{}", Uuid::new_v4())),
            last: Arc::default(),
        }
    }
}

impl Probe {
    /// Fails unless the database and the store of the keys can be read and written.
    pub(crate) async fn run(
        &self,
        bookings: &dyn Bookings,
        idempotency: &Idempotency,
    ) -> Result<(), ApiError> {
        bookings.ping().await?;
        let key = IdempotencyKey::new("readyz").expect("six letters are a key");
        let id = idempotency.record_id(&self.scope, &key);
        let hold = Hold::new(id, Token::random(), LEASE, LEASE)
            .with_scope(idempotency.scope_id(&self.scope));
        let store = idempotency.store();
        // Reading is cheap, so a store that cannot be read is noticed by every probe.
        store.inspect(&hold.id).await?;
        let mut last = self.last.lock().await;
        match *last {
            Some((at, true)) if at.elapsed() < MAX_AGE => Ok(()),
            Some((at, false)) if at.elapsed() < MAX_AGE => {
                Err(StoreError::unavailable("a write failed less than a second ago").into())
            }
            _ => {
                let written = try_to_write(bookings, store, &hold).await;
                *last = Some((Instant::now(), written.is_ok()));
                written
            }
        }
    }
}

async fn try_to_write(
    bookings: &dyn Bookings,
    store: &dyn Store,
    hold: &Hold,
) -> Result<(), ApiError> {
    // The keys may be in another store.
    bookings.try_to_write().await?;
    take_a_key(store, hold).await?;
    Ok(())
}

async fn take_a_key(store: &dyn Store, hold: &Hold) -> Result<(), StoreError> {
    let asked = Fingerprint::of([b"readyz".as_slice()]);
    let claim = ClaimRequest::new(hold, &asked, OnLost::TakeOver);
    store.claim(claim).await?;
    store.release(hold).await?;
    Ok(())
}
