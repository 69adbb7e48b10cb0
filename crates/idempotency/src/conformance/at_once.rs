//! Steps without a future, for stores that have them: they come to the same as those with one.

use std::sync::Arc;

use bytes::Bytes;

use super::{claim, hold_on, inspect, new_hold, request, taken, won};
use crate::{
    Fingerprint, Store,
    record::Phase,
    store::{Claim, ClaimRequest, Hold, IfOwner, OnLost, StoreErrorKind},
};

fn claim_now(store: &Arc<dyn Store>, hold: &Hold, asked: &Fingerprint) -> Option<Claim> {
    let request = ClaimRequest::new(hold, asked, OnLost::TakeOver);
    let claimed = store.claim_now(request)?;
    Some(claimed.expect("a claim"))
}

/// A claim without a future takes a free key, and otherwise learns what a claim with one learns.
pub async fn a_claim_without_a_future_learns_the_same(store: &Arc<dyn Store>) {
    let (asked, other) = (request("book"), request("cancel"));
    let owner = new_hold();
    let Some(first) = claim_now(store, &owner, &asked) else {
        let taken = inspect(store, &owner.id).await;
        assert_eq!(taken, None, "a store that returns nothing does nothing");
        return;
    };
    assert_eq!(first, won(1));
    let again = claim_now(store, &owner, &asked);
    assert_eq!(again, Some(won(1)), "its own token is recognised");
    for asked in [&asked, &other] {
        let now = claim_now(store, &hold_on(owner.id), asked);
        assert_eq!(now, Some(claim(store, &hold_on(owner.id), asked).await));
    }
    let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    for asked in [&asked, &other] {
        let now = claim_now(store, &hold_on(owner.id), asked);
        assert_eq!(now, Some(claim(store, &hold_on(owner.id), asked).await));
    }

    let withdrawn = new_hold();
    store
        .withdraw(&withdrawn, &asked)
        .await
        .expect("a withdrawal");
    let late = store.claim_now(ClaimRequest::new(&withdrawn, &asked, OnLost::TakeOver));
    let late = late.map(|claimed| claimed.map_err(|error| error.kind()));
    assert_eq!(late, Some(Err(StoreErrorKind::Withdrawn)));
}

/// A completion without a future is the owner's only, and what it stores is read back unchanged.
pub async fn a_completion_without_a_future_stores_the_same(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let booked = Bytes::from_static(b"booked");
    let before = inspect(store, &owner.id).await;
    let Some(strangers) = store.complete_now(&hold_on(owner.id), &booked) else {
        assert!(store.complete_now(&owner, &booked).is_none());
        assert_eq!(inspect(store, &owner.id).await, before);
        return;
    };
    assert!(matches!(strangers, Ok(IfOwner::NotOwner)), "{strangers:?}");
    // A completion that is sent again is recognised.
    for _ in 0..2 {
        let completed = store.complete_now(&owner, &booked);
        assert!(
            matches!(completed, Some(Ok(IfOwner::Done(_)))),
            "{completed:?}"
        );
    }
    let claimed = claim(store, &hold_on(owner.id), &asked).await;
    assert!(
        matches!(&claimed, Claim::Completed { outcome, .. } if *outcome == booked),
        "{claimed:?}"
    );
    let phase = inspect(store, &owner.id).await.map(|record| record.phase);
    assert_eq!(phase, Some(Phase::Completed { outcome: booked }));
}
