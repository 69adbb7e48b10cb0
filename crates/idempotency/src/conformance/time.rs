//! When a hold lapses, and when a record is forgotten.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    Advance, LEASE, MARGIN, TTL, claim, completed, fencing::is_shut_out, hold_on, inspect,
    new_hold, request, taken, won,
};
use crate::{Claim, Fenced, Hold, Phase, Resolution, Store};

/// A renewed hold lives for another lease from then on, and not for longer.
pub async fn renewing_moves_the_lease(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let lapses = lease_of(store, &owner).await;
    advance(LEASE - MARGIN);
    assert_eq!(store.renew(&owner).await.ok(), Some(Fenced::Done(())));
    assert!(lease_of(store, &owner).await > lapses);
    advance(LEASE - MARGIN);
    assert_eq!(
        claim(store, &hold_on(owner.id), &asked).await,
        Claim::InFlight { fingerprint: asked }
    );
    advance(MARGIN);
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, won(2));
}

/// A completed record lives for its ttl from its completion, however long the run took.
pub async fn the_ttl_counts_from_completion(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    advance(LEASE - MARGIN);
    let expires_at = complete(store, &owner, b"booked").await;
    let replay = Claim::Completed {
        fingerprint: asked,
        outcome: Bytes::from_static(b"booked"),
        expires_at,
    };
    advance(TTL - MARGIN);
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, replay);
    advance(MARGIN);
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, won(1));
}

/// Replays and inspections all name the time that the completion promised, and the record is gone by then.
pub async fn a_replay_does_not_extend_the_ttl(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let promised = complete(store, &owner, b"booked").await;
    for _ in 0..2 {
        advance(TTL / 3);
        let replay = claim(store, &hold_on(owner.id), &asked).await;
        let Claim::Completed { expires_at, .. } = replay else {
            panic!("the record lives, and not {replay:?}");
        };
        assert_eq!(expires_at, promised);
        let record = inspect(store, &owner.id).await.expect("the record");
        assert_eq!(record.expires_at, promised);
        let repeated = complete(store, &owner, b"booked").await;
        assert_eq!(repeated, promised);
    }
    advance(TTL / 3);
    assert_eq!(inspect(store, &owner.id).await, None);
}

/// A record past its time is absent for everybody, although nothing has removed it.
pub async fn an_expired_record_is_absent_before_it_is_swept(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let owner = completed(store, &request("book"), b"booked").await;
    advance(TTL);
    assert_eq!(inspect(store, &owner.id).await, None);
    assert_eq!(store.list(None, 10).await.expect("a list"), []);
    is_shut_out(store, &owner).await;
    let other = request("book something else");
    assert_eq!(claim(store, &hold_on(owner.id), &other).await, won(1));
    is_shut_out(store, &owner).await;
}

/// A hold that nobody ends and nobody takes over refuses other requests for a ttl after its lease; from then
/// on it is absent, also for its owner.
pub async fn an_abandoned_hold_is_forgotten_a_ttl_after_its_lease(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let (asked, other) = (request("book"), request("book something else"));
    let owner = taken(store, &asked).await;
    advance(LEASE);
    advance(TTL - MARGIN);
    assert_eq!(
        claim(store, &hold_on(owner.id), &other).await,
        Claim::InFlight { fingerprint: asked }
    );
    advance(MARGIN);
    assert_eq!(inspect(store, &owner.id).await, None);
    is_shut_out(store, &owner).await;
    assert_eq!(claim(store, &hold_on(owner.id), &other).await, won(1));
}

/// Times beyond what clocks and dates can count are kept for as long as the store can, by owners and by operators.
pub async fn what_is_kept_without_end_is_kept(store: &Arc<dyn Store>) {
    let asked = request("book");
    let outcome = Bytes::from_static(b"booked");
    for by_operator in [false, true] {
        let hold = Hold {
            lease: Duration::MAX,
            ttl: Duration::MAX,
            ..new_hold()
        };
        assert_eq!(claim(store, &hold, &asked).await, won(1));
        assert_eq!(store.renew(&hold).await.ok(), Some(Fenced::Done(())));
        if by_operator {
            let resolution = Resolution::Complete {
                outcome: outcome.clone(),
                ttl: Duration::MAX,
            };
            let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
            assert_eq!(resolved.ok(), Some(Fenced::Done(())));
        } else {
            complete(store, &hold, b"booked").await;
        }
        let record = inspect(store, &hold.id).await.expect("a record");
        let outcome = outcome.clone();
        assert_eq!(record.phase, Phase::Completed { outcome });
    }
}

async fn complete(store: &Arc<dyn Store>, hold: &Hold, outcome: &'static [u8]) -> SystemTime {
    let completed = store.complete(hold, Bytes::from_static(outcome)).await;
    match completed.expect("a completion") {
        Fenced::Done(expires_at) => expires_at,
        Fenced::Lost => panic!("the owner completes"),
    }
}

pub(super) async fn lease_of(store: &Arc<dyn Store>, hold: &Hold) -> SystemTime {
    match inspect(store, &hold.id).await.map(|record| record.phase) {
        Some(Phase::InFlight { lease_until, .. }) => lease_until,
        other => panic!("the hold is in flight, and not {other:?}"),
    }
}
