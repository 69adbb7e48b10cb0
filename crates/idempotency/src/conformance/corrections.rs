//! What operators do with completed records.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Advance, LEASE, TTL, claim,
    fencing::is_shut_out,
    hold_on, inspect,
    labels::{existing, labelled},
    list, new_hold,
    operators::noise,
    request, taken, won,
};
use crate::{
    OnLost, Store,
    labels::Labels,
    record::{Phase, Token},
    store::{Claim, ClaimRequest, IfOwner, Resolution, StoreErrorKind},
};

/// An operator replaces the outcome of a completed record that is still the one seen. Nothing else of that record
/// changes, and a record that is not completed is left alone.
pub async fn a_completed_outcome_is_replaced(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let labels = Labels::new(Some("POST /bookings"), Some("customer 7"));
    let owner = labelled(store, &asked, &labels).await;
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let before = existing(store, &owner.id).await;
    let replace = |outcome: &Bytes| Resolution::Replace {
        outcome: outcome.clone(),
    };
    let corrected = Bytes::from_static(b"corrected by hand");
    let of_another = store
        .resolve(&owner.id, &Token::random(), replace(&corrected))
        .await;
    assert_eq!(of_another.ok(), Some(IfOwner::NotOwner));
    assert_eq!(existing(store, &owner.id).await, before);

    advance(LEASE);
    for outcome in [noise(70_000), Bytes::new(), corrected.clone()] {
        // The second time stands for a repetition after a lost reply.
        for _ in 0..2 {
            let replaced = store.resolve(&owner.id, &owner.token, replace(&outcome));
            assert_eq!(replaced.await.ok(), Some(IfOwner::Done(())));
            let mut expected = before.clone();
            expected.phase = Phase::Completed {
                outcome: outcome.clone(),
            };
            assert_eq!(existing(store, &owner.id).await, expected);
        }
    }
    let replay = Claim::Completed {
        fingerprint: asked,
        outcome: corrected.clone(),
        expires_at: before.expires_at,
    };
    let again = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert_eq!(again.ok(), Some(IfOwner::Done(before.expires_at)));
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, replay);
    let limit = store.outcome_limit();
    if limit <= 1 << 24 {
        let refused = store
            .resolve(&owner.id, &owner.token, replace(&noise(limit + 1)))
            .await;
        let kind = refused.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::TooLarge));
        assert_eq!(claim(store, &hold_on(owner.id), &asked).await, replay);
    }
    is_for_completed_runs_only(store, &replace(&corrected)).await;

    advance(TTL - LEASE);
    assert_eq!(inspect(store, &owner.id).await, None);
    let late = store.resolve(&owner.id, &owner.token, replace(&corrected));
    assert_eq!(late.await.ok(), Some(IfOwner::NotOwner));
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, won(1));
}

/// An operator forgets a completed record that is still the one seen, and its key is new. A run that has not ended is
/// not forgotten.
pub async fn a_completed_record_is_forgotten(store: &Arc<dyn Store>) {
    let asked = request("book");
    let labels = Labels::new(Some("POST /bookings"), Some("customer 7"));
    let owner = labelled(store, &asked, &labels).await;
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let before = existing(store, &owner.id).await;
    let of_another = store
        .resolve(&owner.id, &Token::random(), Resolution::Forget)
        .await;
    assert_eq!(of_another.ok(), Some(IfOwner::NotOwner));
    assert_eq!(existing(store, &owner.id).await, before);

    for expected in [IfOwner::Done(()), IfOwner::NotOwner] {
        let forgotten = store.resolve(&owner.id, &owner.token, Resolution::Forget);
        assert_eq!(forgotten.await.ok(), Some(expected));
        assert_eq!(inspect(store, &owner.id).await, None);
        assert_eq!(list(store, None, 10).await, []);
    }
    is_shut_out(store, &owner).await;
    let other = request("book something else");
    let next = hold_on(owner.id);
    assert_eq!(claim(store, &next, &other).await, won(1));
    let anew = existing(store, &owner.id).await;
    assert_eq!((anew.fingerprint, anew.token), (other, next.token));
    assert_eq!((anew.completed_at, anew.labels), (None, Labels::default()));
    is_shut_out(store, &owner).await;
    is_for_completed_runs_only(store, &Resolution::Forget).await;
}

/// This resolution changes nothing of a run that goes on, has lapsed or was suspended, and nothing of a free key.
async fn is_for_completed_runs_only(store: &Arc<dyn Store>, resolution: &Resolution) {
    let asked = request("book");
    let (running, suspended) = (taken(store, &asked).await, taken(store, &asked).await);
    let lapsed = new_hold().with_lease(Duration::ZERO);
    assert_eq!(claim(store, &lapsed, &asked).await, won(1));
    let done = store.suspend(&suspended, Bytes::from_static(b"charged"));
    assert_eq!(done.await.ok(), Some(IfOwner::Done(())));
    let released = taken(store, &asked).await;
    let done = store.release(&released).await;
    assert_eq!(done.ok(), Some(IfOwner::Done(())));
    for hold in [&running, &lapsed, &suspended, &released, &new_hold()] {
        let before = inspect(store, &hold.id).await;
        let resolved = store.resolve(&hold.id, &hold.token, resolution.clone());
        assert_eq!(resolved.await.ok(), Some(IfOwner::NotOwner));
        assert_eq!(inspect(store, &hold.id).await, before);
    }
    // A free key still remembers that its token is spent.
    let late = store.claim(ClaimRequest::new(&released, &asked, OnLost::TakeOver));
    let kind = late.await.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    for hold in [&running, &lapsed] {
        let done = store.complete(hold, Bytes::from_static(b"booked")).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    }
}
