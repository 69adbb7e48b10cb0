//! When a hold lapses, and when a record is forgotten.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    Advance, LEASE, MARGIN, TTL, claim, completed, fencing::is_shut_out, hold_on, inspect, list,
    new_hold, request, taken, won,
};
use crate::{
    Store,
    record::Phase,
    store::{Claim, Hold, IfOwner, Resolution},
};

/// A renewed hold lives for another lease from the renewal, and not longer.
pub async fn renewing_moves_the_lease(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let lapses = lease_of(store, &owner).await;
    advance(LEASE - MARGIN);
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
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

/// The ttl of the completing hold counts, shorter or longer than that of its claim: a response can have its own.
pub async fn a_completion_may_have_another_ttl_than_its_claim(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    for (claimed, ttl) in [(TTL, 2 * TTL), (10 * TTL, TTL)] {
        let owner = new_hold().with_ttl(claimed);
        assert_eq!(claim(store, &owner, &asked).await, won(1));
        assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
        let ending = owner.clone().with_ttl(ttl);
        let expires_at = complete(store, &ending, b"booked").await;
        // The same completion, whose reply was lost.
        assert_eq!(complete(store, &ending, b"booked").await, expires_at);
        let replay = Claim::Completed {
            fingerprint: asked,
            outcome: Bytes::from_static(b"booked"),
            expires_at,
        };
        advance(ttl - MARGIN);
        assert_eq!(claim(store, &hold_on(owner.id), &asked).await, replay);
        let record = inspect(store, &owner.id).await.expect("the record");
        assert_eq!(record.expires_at, expires_at);
        // Nor is it swept early, or kept for the ttl of the claim.
        store.purge_expired(10).await.expect("a sweep");
        assert!(inspect(store, &owner.id).await.is_some());
        advance(MARGIN);
        assert_eq!(inspect(store, &owner.id).await, None);
        assert_eq!(claim(store, &hold_on(owner.id), &asked).await, won(1));
    }
}

/// All replays and inspections return the expiry that the completion returned, and by then the record is gone.
pub async fn a_replay_does_not_extend_the_ttl(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let promised = complete(store, &owner, b"booked").await;
    for _ in 0..2 {
        advance(TTL / 3);
        let replay = claim(store, &hold_on(owner.id), &asked).await;
        let Claim::Completed { expires_at, .. } = replay else {
            panic!("the record should be alive, but the claim got {replay:?}");
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

/// An expired record is absent for all callers, although nothing has removed it.
pub async fn an_expired_record_is_absent_before_it_is_swept(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let owner = completed(store, &request("book"), b"booked").await;
    advance(TTL);
    assert_eq!(inspect(store, &owner.id).await, None);
    assert_eq!(list(store, None, 10).await, []);
    is_shut_out(store, &owner).await;
    let other = request("book something else");
    assert_eq!(claim(store, &hold_on(owner.id), &other).await, won(1));
    is_shut_out(store, &owner).await;
}

/// An abandoned hold that is not taken over refuses other requests until a ttl after its lease. From then on it is
/// absent, even for its owner.
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

/// A hold with a ttl of zero is forgotten when its lease lapses, so that no claim takes it over or learns of it.
pub async fn an_abandoned_hold_with_a_ttl_of_zero_is_forgotten_with_its_lease(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let (asked, other) = (request("book"), request("book something else"));
    for next in [&asked, &other] {
        let owner = new_hold().with_ttl(Duration::ZERO);
        assert_eq!(claim(store, &owner, &asked).await, won(1));
        advance(LEASE - MARGIN);
        assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
        advance(LEASE - MARGIN);
        assert_eq!(
            claim(store, &hold_on(owner.id), next).await,
            Claim::InFlight { fingerprint: asked }
        );
        advance(MARGIN);
        assert_eq!(inspect(store, &owner.id).await, None);
        is_shut_out(store, &owner).await;
        assert_eq!(claim(store, &hold_on(owner.id), next).await, won(1));
    }
}

/// A hold lives for its own lease, and its outcome for its own ttl, whatever the times of other holds.
pub async fn each_hold_has_its_own_times(store: &Arc<dyn Store>) {
    /// The time that may pass between two steps of this function.
    const SLACK: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3600);
    let asked = request("book");
    let mut before: Option<[SystemTime; 3]> = None;
    for hours in 1..=3 {
        let time = hours * HOUR;
        let hold = new_hold().with_lease(time).with_ttl(2 * time);
        assert_eq!(claim(store, &hold, &asked).await, won(1));
        let lease_until = lease_of(store, &hold).await;
        let renewing = hold.clone().with_lease(2 * time);
        assert_eq!(store.renew(&renewing).await.ok(), Some(IfOwner::Done(())));
        let renewed_until = lease_of(store, &hold).await;
        let expires_at = complete(store, &hold, b"booked").await;
        if let Some([lease_before, renewed_before, expired_before]) = before {
            for (earlier, later, difference) in [
                (lease_before, lease_until, HOUR),
                (renewed_before, renewed_until, 2 * HOUR),
                (expired_before, expires_at, 2 * HOUR),
            ] {
                let found = later.duration_since(earlier).expect("a longer time");
                assert!(found >= difference - SLACK, "{found:?}");
                assert!(found <= difference + SLACK, "{found:?}");
            }
        }
        before = Some([lease_until, renewed_until, expires_at]);
    }
}

/// A lease of zero lapses at once, and an outcome with a ttl of zero expires at once. Neither is an error.
pub async fn a_lease_and_a_ttl_of_zero_are_over_at_once(store: &Arc<dyn Store>) {
    let asked = request("book");
    let over = new_hold()
        .with_lease(Duration::ZERO)
        .with_ttl(Duration::ZERO);
    assert_eq!(claim(store, &over, &asked).await, won(1));
    let other = request("book something else");
    assert_eq!(claim(store, &hold_on(over.id), &other).await, won(1));
    let lapsed = new_hold().with_lease(Duration::ZERO);
    assert_eq!(claim(store, &lapsed, &asked).await, won(1));
    assert_eq!(claim(store, &hold_on(lapsed.id), &asked).await, won(2));
    let forgotten = new_hold().with_ttl(Duration::ZERO);
    assert_eq!(claim(store, &forgotten, &asked).await, won(1));
    complete(store, &forgotten, b"booked").await;
    assert_eq!(claim(store, &hold_on(forgotten.id), &other).await, won(1));
}

/// Times beyond the range of clocks and dates are stored for as long as the store can, for owners and for operators.
pub async fn what_is_kept_without_end_is_kept(store: &Arc<dyn Store>) {
    let asked = request("book");
    let outcome = Bytes::from_static(b"booked");
    for by_operator in [false, true] {
        let hold = new_hold().with_lease(Duration::MAX).with_ttl(Duration::MAX);
        assert_eq!(claim(store, &hold, &asked).await, won(1));
        assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
        if by_operator {
            let resolution = Resolution::Complete {
                outcome: outcome.clone(),
                ttl: Duration::MAX,
            };
            let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
            assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
        } else {
            complete(store, &hold, b"booked").await;
        }
        let record = inspect(store, &hold.id).await.expect("a record");
        let soon = complete(store, &taken(store, &asked).await, b"booked").await;
        let longer = record.expires_at.duration_since(soon);
        assert!(
            longer.is_ok_and(|longer| longer > 10_000 * TTL),
            "{record:?}"
        );
        let outcome = outcome.clone();
        assert_eq!(record.phase, Phase::Completed { outcome });
    }
}

async fn complete(store: &Arc<dyn Store>, hold: &Hold, outcome: &'static [u8]) -> SystemTime {
    let completed = store.complete(hold, Bytes::from_static(outcome)).await;
    match completed.expect("a completion") {
        IfOwner::Done(expires_at) => expires_at,
        IfOwner::NotOwner => panic!("the owner should complete"),
    }
}

pub(super) async fn lease_of(store: &Arc<dyn Store>, hold: &Hold) -> SystemTime {
    match inspect(store, &hold.id).await.map(|record| record.phase) {
        Some(Phase::InFlight { lease_until, .. }) => lease_until,
        other => panic!("the hold should be in flight, but is {other:?}"),
    }
}
