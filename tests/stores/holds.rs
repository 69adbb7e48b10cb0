//! Holds, and what is claimed with them.

use std::time::Duration;

use bytes::Bytes;
use idempotency::{
    Fingerprint, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, RecordId, StoreError, Token},
};

/// A hold on a key that no test has used.
pub(crate) fn new_hold() -> Hold {
    let mut id = [0; 32];
    id[..16].copy_from_slice(Token::random().as_bytes());
    hold_on(RecordId::from_bytes(id))
}

/// Another request's hold on this key, or another attempt's, with a lease long enough for a slow machine.
pub(crate) fn hold_on(id: RecordId) -> Hold {
    let (lease, ttl) = (Duration::from_secs(60), Duration::from_secs(3600));
    Hold::new(id, Token::random(), lease, ttl)
}

/// The fingerprint where it does not matter.
pub(crate) fn request() -> Fingerprint {
    Fingerprint::of([b"book".as_slice()])
}

/// A claim that takes over an expired lease.
pub(crate) async fn claim(
    store: &impl Store,
    hold: &Hold,
    asked: &Fingerprint,
) -> Result<Claim, StoreError> {
    store
        .claim(ClaimRequest::new(hold, asked, OnLost::TakeOver))
        .await
}

/// A claim that is won as this attempt, without progress from an earlier run.
pub(crate) fn won(attempt: u32) -> Claim {
    Claim::won(attempt, Bytes::new())
}
