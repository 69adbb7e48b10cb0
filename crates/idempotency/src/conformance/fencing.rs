//! Which token may end a hold.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::Barrier, task::yield_now};

use super::{Advance, LEASE, claim, completed, hold_on, inspect, new_hold, request, taken, won};
use crate::{
    Store,
    record::Phase,
    store::{Claim, Hold, IfOwner, Resolution},
};

/// An owner that recovers after a take-over can neither renew, checkpoint, complete nor release.
pub async fn a_stale_owner_changes_nothing(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let stale = taken(store, &asked).await;
    advance(LEASE);
    let owner = hold_on(stale.id);
    assert_eq!(claim(store, &owner, &asked).await, won(2));
    is_shut_out(store, &stale).await;
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    is_shut_out(store, &stale).await;
}

/// If there is no record, there is nothing to renew, checkpoint, complete, release or resolve, and no record is
/// created.
pub async fn an_absent_record_has_no_owner(store: &Arc<dyn Store>) {
    let hold = new_hold();
    is_shut_out(store, &hold).await;
    assert_eq!(inspect(store, &hold.id).await, None);
}

/// A token whose hold was released matches no later record under the same id.
pub async fn a_dead_token_fits_no_later_record(store: &Arc<dyn Store>) {
    let asked = request("book");
    let dead = taken(store, &asked).await;
    assert_eq!(store.release(&dead).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(claim(store, &hold_on(dead.id), &asked).await, won(1));
    is_shut_out(store, &dead).await;
}

/// An owner whose lease has lapsed remains the owner until a take-over.
pub async fn a_late_owner_may_end_what_was_not_taken_over(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let (renewing, going_on, completing, releasing) = (
        taken(store, &asked).await,
        taken(store, &asked).await,
        taken(store, &asked).await,
        taken(store, &asked).await,
    );
    advance(LEASE);
    assert_eq!(store.renew(&renewing).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(
        claim(store, &hold_on(renewing.id), &asked).await,
        Claim::InFlight { fingerprint: asked }
    );
    let kept = store.checkpoint(&going_on, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    let done = store.complete(&completing, Bytes::new()).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    assert_eq!(
        store.release(&releasing).await.ok(),
        Some(IfOwner::Done(()))
    );
}

/// If an owner completes or releases while another claim takes over, one of them loses and learns it.
pub async fn either_the_owner_or_its_successor_wins(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let mut owners = Vec::new();
    for _ in 0..40 {
        owners.push(taken(store, &asked).await);
    }
    advance(LEASE);
    for (number, owner) in owners.into_iter().enumerate() {
        let start = Arc::new(Barrier::new(2));
        let ending = tokio::spawn({
            let (store, start) = (Arc::clone(store), Arc::clone(&start));
            let owner = owner.clone();
            async move {
                start.wait().await;
                let outcome = Bytes::from_static(b"booked");
                match number % 2 {
                    0 => (store.complete(&owner, outcome.clone()).await)
                        .map(|done| done.map(|at| Claim::completed(asked, outcome, at))),
                    _ => (store.release(&owner).await).map(|done| done.map(|()| won(1))),
                }
            }
        });
        let claiming = tokio::spawn({
            let store = Arc::clone(store);
            async move {
                start.wait().await;
                // In half of the rounds the owner is the first.
                if number % 4 < 2 {
                    yield_now().await;
                }
                claim(&store, &hold_on(owner.id), &asked).await
            }
        });
        let ended = ending.await.expect("the owner").expect("an end");
        let claimed = claiming.await.expect("the successor");
        match ended {
            IfOwner::NotOwner => assert_eq!(claimed, won(2)),
            IfOwner::Done(left) => assert_eq!(claimed, left),
        }
    }
}

/// A completion that is sent again after a lost reply succeeds again: the first outcome stays, and expires when it was
/// to expire.
pub async fn a_repeated_completion_changes_nothing(store: &Arc<dyn Store>) {
    let owner = taken(store, &request("book")).await;
    let first = store.complete(&owner, Bytes::from_static(b"booked")).await;
    let first = first.expect("a completion");
    assert!(matches!(first, IfOwner::Done(_)), "{first:?}");
    let before = inspect(store, &owner.id).await;
    let again = store.complete(&owner, Bytes::from_static(b"other")).await;
    assert_eq!(again.expect("a completion"), first);
    assert_eq!(inspect(store, &owner.id).await, before);
}

/// A completed record stays completed, even for the run that completed it.
pub async fn a_completed_record_cannot_be_renewed_or_released(store: &Arc<dyn Store>) {
    let owner = completed(store, &request("book"), b"booked").await;
    let before = inspect(store, &owner.id).await;
    let phase = before.clone().map(|record| record.phase);
    assert!(matches!(phase, Some(Phase::Completed { .. })), "{phase:?}");
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::NotOwner));
    let kept = store.checkpoint(&owner, Bytes::from_static(b"more")).await;
    assert_eq!(kept.ok(), Some(IfOwner::NotOwner));
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::NotOwner));
    let resolved = store.resolve(&owner.id, &owner.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::NotOwner));
    assert_eq!(inspect(store, &owner.id).await, before);
}

/// A released key is free for any request.
pub async fn a_release_frees_the_key(store: &Arc<dyn Store>) {
    let owner = taken(store, &request("book")).await;
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(inspect(store, &owner.id).await, None);
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::NotOwner));
    let other = request("book something else");
    assert_eq!(claim(store, &hold_on(owner.id), &other).await, won(1));
}

/// Every step of this hold's owner fails without an effect.
pub(super) async fn is_shut_out(store: &Arc<dyn Store>, hold: &Hold) {
    let before = inspect(store, &hold.id).await;
    // A longer lease than the record's, so that a renewal is seen although the clock stands.
    let renewing = hold.clone().with_lease(2 * LEASE);
    assert_eq!(store.renew(&renewing).await.ok(), Some(IfOwner::NotOwner));
    let kept = store.checkpoint(hold, Bytes::from_static(b"stale")).await;
    assert_eq!(kept.ok(), Some(IfOwner::NotOwner));
    let completed = store.complete(hold, Bytes::from_static(b"stale")).await;
    assert_eq!(completed.ok(), Some(IfOwner::NotOwner));
    assert_eq!(store.release(hold).await.ok(), Some(IfOwner::NotOwner));
    for resolution in [
        Resolution::Release,
        Resolution::Complete {
            outcome: Bytes::from_static(b"stale"),
            ttl: hold.ttl,
        },
        Resolution::Replace {
            outcome: Bytes::from_static(b"stale"),
        },
        Resolution::Erase {
            outcome: Bytes::from_static(b"stale"),
        },
        Resolution::Forget,
    ] {
        let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
        assert_eq!(resolved.ok(), Some(IfOwner::NotOwner));
    }
    assert_eq!(inspect(store, &hold.id).await, before);
}
