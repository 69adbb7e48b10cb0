//! How a run ends that leaves its progress to the next attempt.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    claim, hold_on, inspect, request, taken,
    withdrawal::{can_change_nothing, has_left, is_spent},
};
use crate::{
    OnLost, Store,
    store::{Claim, ClaimRequest, IfOwner},
};

/// The same request takes over a suspended run at once, with all of its progress; the run's own token is spent.
pub async fn a_suspended_run_goes_on_at_once(store: &Arc<dyn Store>) {
    let (asked, other) = (request("book"), request("book something else"));
    let owner = taken(store, &asked).await;
    let kept = store.checkpoint(&owner, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    let progress = Bytes::from_static(b"charged, sent");
    for _ in 0..2 {
        let suspended = store.suspend(&owner, progress.clone()).await;
        assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
        let left = inspect(store, &owner.id).await;
        has_left(left.as_ref(), 1, &progress);
    }
    can_change_nothing(store, &owner).await;
    is_spent(store, &owner, &asked).await;

    let refusing = hold_on(owner.id);
    let refused = store
        .claim(ClaimRequest::new(&refusing, &asked, OnLost::Refuse))
        .await;
    let unknown = Claim::Unknown { fingerprint: asked };
    assert_eq!(refused.expect("a claim"), unknown);
    let in_flight = Claim::InFlight { fingerprint: asked };
    assert_eq!(claim(store, &hold_on(owner.id), &other).await, in_flight);
    let next = hold_on(owner.id);
    let second = Claim::Won {
        attempt: 2,
        progress,
    };
    assert_eq!(claim(store, &next, &asked).await, second);
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, in_flight);
    let late = store.suspend(&owner, Bytes::new()).await;
    assert_eq!(late.ok(), Some(IfOwner::NotOwner));
    assert_eq!(store.renew(&next).await.ok(), Some(IfOwner::Done(())));
}

/// A run that does not hold a key cannot be suspended, and neither can a completed or released one.
pub async fn only_the_owner_suspends(store: &Arc<dyn Store>) {
    let asked = request("book");
    let (completed, released) = (taken(store, &asked).await, taken(store, &asked).await);
    let done = store.complete(&completed, Bytes::from_static(b"booked"));
    assert!(matches!(done.await, Ok(IfOwner::Done(_))));
    assert_eq!(store.release(&released).await.ok(), Some(IfOwner::Done(())));
    let owner = taken(store, &asked).await;
    for hold in [&completed, &released, &hold_on(owner.id)] {
        let before = inspect(store, &hold.id).await;
        let suspended = store.suspend(hold, Bytes::from_static(b"stale")).await;
        assert_eq!(suspended.ok(), Some(IfOwner::NotOwner));
        assert_eq!(inspect(store, &hold.id).await, before);
    }
}

/// A checkpoint that arrives after a later, longer one changes nothing.
pub async fn a_late_checkpoint_changes_nothing(store: &Arc<dyn Store>) {
    let owner = taken(store, &request("book")).await;
    for progress in ["charged", "charged, sent", "charged", ""] {
        let progress = Bytes::from_static(progress.as_bytes());
        let kept = store.checkpoint(&owner, progress).await;
        assert_eq!(kept.ok(), Some(IfOwner::Done(())));
    }
    let left = inspect(store, &owner.id).await;
    has_left(left.as_ref(), 1, &Bytes::from_static(b"charged, sent"));
}
