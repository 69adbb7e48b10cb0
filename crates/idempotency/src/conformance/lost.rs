//! What happens to a hold whose owner is lost, if claims may not take over.

use std::sync::Arc;

use bytes::Bytes;

use super::{Advance, LEASE, MARGIN, TTL, claim, hold_on, inspect, request, rush, taken, won};
use crate::{
    Fingerprint, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, Resolution},
};

/// A claim that may not take over learns that a lapsed hold's outcome is unknown, and another request learns that the
/// key is in use. Both leave the record as it is, for its owner and for claims that may take over.
pub async fn a_refused_claim_changes_nothing(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let (asked, other) = (request("book"), request("book something else"));
    let owner = taken(store, &asked).await;
    let kept = store.checkpoint(&owner, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    assert_eq!(
        refusing(store, &hold_on(owner.id), &asked).await,
        Claim::InFlight { fingerprint: asked }
    );
    advance(LEASE);
    let before = inspect(store, &owner.id).await;
    assert_eq!(
        refusing(store, &hold_on(owner.id), &asked).await,
        Claim::Unknown { fingerprint: asked }
    );
    assert_eq!(
        refusing(store, &hold_on(owner.id), &other).await,
        Claim::InFlight { fingerprint: asked }
    );
    let won = |attempt| Claim::Won {
        attempt,
        progress: Bytes::from_static(b"charged"),
    };
    assert_eq!(refusing(store, &owner, &asked).await, won(1));
    assert_eq!(inspect(store, &owner.id).await, before);
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, won(2));
}

/// Of many concurrent claims like that none wins, and an owner that recovers can still renew and complete.
pub async fn of_many_refused_claims_none_wins(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    advance(LEASE);
    for (_, claim) in rush(store, owner.id, asked, OnLost::Refuse).await {
        assert_eq!(claim, Claim::Unknown { fingerprint: asked });
    }
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(
        refusing(store, &hold_on(owner.id), &asked).await,
        Claim::InFlight { fingerprint: asked }
    );
    advance(LEASE);
    let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
    let Ok(IfOwner::Done(expires_at)) = completed else {
        panic!("the owner should complete, but got {completed:?}");
    };
    assert_eq!(
        refusing(store, &hold_on(owner.id), &asked).await,
        Claim::Completed {
            fingerprint: asked,
            outcome: Bytes::from_static(b"booked"),
            expires_at,
        }
    );
}

/// An operator frees such a key, and the next claim wins; or sets an outcome, and the next claim gets it.
pub async fn an_operator_ends_what_is_unknown(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let (freed, settled) = (taken(store, &asked).await, taken(store, &asked).await);
    advance(LEASE);
    for owner in [&freed, &settled] {
        assert_eq!(
            refusing(store, &hold_on(owner.id), &asked).await,
            Claim::Unknown { fingerprint: asked }
        );
    }
    let resolved = store.resolve(&freed.id, &freed.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    assert_eq!(refusing(store, &hold_on(freed.id), &asked).await, won(1));

    let resolution = Resolution::Complete {
        outcome: Bytes::from_static(b"settled by hand"),
        ttl: TTL,
    };
    let resolved = store.resolve(&settled.id, &settled.token, resolution);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    let replay = refusing(store, &hold_on(settled.id), &asked).await;
    let Claim::Completed { outcome, .. } = replay else {
        panic!("the record should be completed, but the claim got {replay:?}");
    };
    assert_eq!(outcome, "settled by hand");
}

/// A lost run that is not resolved stays unknown for a ttl after its lease, and then the key is new.
pub async fn what_is_unknown_is_forgotten_in_the_end(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    advance(LEASE);
    advance(TTL - MARGIN);
    assert_eq!(
        refusing(store, &hold_on(owner.id), &asked).await,
        Claim::Unknown { fingerprint: asked }
    );
    advance(MARGIN);
    let other = request("book something else");
    assert_eq!(refusing(store, &hold_on(owner.id), &other).await, won(1));
}

/// The result of a claim that may not take over a lapsed hold.
async fn refusing(store: &Arc<dyn Store>, hold: &Hold, fingerprint: &Fingerprint) -> Claim {
    let claim = store
        .claim(ClaimRequest::new(hold, fingerprint, OnLost::Refuse))
        .await;
    claim.expect("a claim")
}
