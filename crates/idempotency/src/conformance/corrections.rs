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
    store::{Claim, ClaimRequest, IfOwner, ListRequest, Resolution, StoreErrorKind},
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
        let outcome = noise(limit + 1);
        for too_long in [replace(&outcome), Resolution::Erase { outcome }] {
            let refused = store.resolve(&owner.id, &owner.token, too_long).await;
            let kind = refused.map_err(|error| error.kind());
            assert_eq!(kind, Err(StoreErrorKind::TooLarge));
            assert_eq!(claim(store, &hold_on(owner.id), &asked).await, replay);
        }
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

/// An operator erases what a completed run has left, with the application's label. The key stays taken as it was, and neither the
/// run itself nor one that was lost before brings anything back.
pub async fn an_erased_outcome_stays_erased(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    for (route, label) in [
        (Some("POST /bookings/{id}"), Some("customer 7")),
        (Some("POST /bookings"), None),
        (None, Some("customer 7")),
        (None, None),
    ] {
        let lost = labelled(store, &asked, &Labels::new(route, label)).await;
        advance(LEASE);
        let owner = hold_on(lost.id);
        assert_eq!(claim(store, &owner, &asked).await, won(2));
        let done = store.complete(&owner, Bytes::from_static(b"for Ann")).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
        let before = existing(store, &owner.id).await;
        let erase = || Resolution::Erase {
            outcome: Bytes::from_static(b"erased"),
        };
        let of_another = store.resolve(&owner.id, &Token::random(), erase()).await;
        assert_eq!(of_another.ok(), Some(IfOwner::NotOwner));
        assert_eq!(existing(store, &owner.id).await, before);

        let mut erased = before.clone();
        erased.labels = Labels::new(route, None);
        erased.phase = Phase::Completed {
            outcome: Bytes::from_static(b"erased"),
        };
        // The second time as after a reply that was lost.
        for _ in 0..2 {
            let resolved = store.resolve(&owner.id, &owner.token, erase()).await;
            assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
            assert_eq!(existing(store, &owner.id).await, erased);
        }
        is_shut_out(store, &lost).await;
        // As a completion whose first reply was lost.
        let again = store.complete(&owner, Bytes::from_static(b"for Ann")).await;
        assert_eq!(again.ok(), Some(IfOwner::Done(before.expires_at)));
        let back = store.withdraw(&lost, &asked).await;
        back.expect("a withdrawal");
        let replay = Claim::Completed {
            fingerprint: asked,
            outcome: Bytes::from_static(b"erased"),
            expires_at: before.expires_at,
        };
        for late in [&lost, &hold_on(owner.id)] {
            assert_eq!(claim(store, late, &asked).await, replay);
        }
        assert_eq!(existing(store, &owner.id).await, erased);
        is_for_completed_runs_only(store, &erase()).await;
        if let Some(label) = label {
            let labelled = ListRequest::new(10).labelled(label);
            let listed = store.list(&labelled).await.expect("a page");
            assert!(listed.is_empty(), "{listed:?}");
        }
    }
}

/// A run whose record an operator has forgotten takes its key no more: not by a claim that arrives late, and not by an owner
/// that takes its record for lost. Another run's key it leaves alone.
pub async fn a_forgotten_run_takes_nothing_late(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let lost = taken(store, &asked).await;
    advance(LEASE);
    let owner = hold_on(lost.id);
    assert_eq!(claim(store, &owner, &asked).await, won(2));
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let forgotten = store.resolve(&owner.id, &owner.token, Resolution::Forget);
    assert_eq!(forgotten.await.ok(), Some(IfOwner::Done(())));

    let is_refused = async || {
        let late = ClaimRequest::new(&owner, &asked, OnLost::TakeOver);
        let kind = store.claim(late).await.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    };
    is_refused().await;
    for late in [&owner, &lost] {
        is_shut_out(store, late).await;
        assert_eq!(inspect(store, &owner.id).await, None);
    }
    // The mark outlives what the record would have had.
    advance(TTL);
    is_refused().await;

    let next = hold_on(owner.id);
    assert_eq!(claim(store, &next, &asked).await, won(1));
    is_refused().await;
    for late in [&owner, &lost] {
        is_shut_out(store, late).await;
    }
    let done = store.complete(&next, Bytes::from_static(b"again")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let outcome = Bytes::from_static(b"again");
    let kept = existing(store, &next.id).await;
    assert_eq!(
        (kept.token, kept.phase),
        (next.token, Phase::Completed { outcome })
    );
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
