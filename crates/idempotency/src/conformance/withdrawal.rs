//! How a claim is withdrawn whose caller does not run, and what it does if it arrives afterwards.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::Barrier, task::JoinSet};

use super::{Advance, LEASE, claim, hold_on, inspect, list, new_hold, request, taken, won};
use crate::{
    Fingerprint, OnLost, Store,
    record::{Phase, Record, RecordId},
    store::{Claim, ClaimRequest, Hold, IfOwner, MAX_SPENT_TOKENS, Resolution, StoreErrorKind},
};

/// The withdrawal of a first claim leaves a key that is new for any request, and repeating it changes nothing.
pub async fn a_withdrawn_claim_leaves_a_new_key(store: &Arc<dyn Store>) {
    let asked = request("book");
    let hold = taken(store, &asked).await;
    for _ in 0..2 {
        withdraw(store, &hold, &asked).await;
        is_free(store, &hold.id).await;
        is_spent(store, &hold, &asked).await;
    }
    next_is_the_first(store, &hold.id).await;
}

/// A claim that arrives after it was withdrawn takes nothing.
pub async fn a_claim_behind_its_withdrawal_takes_nothing(store: &Arc<dyn Store>) {
    let asked = request("book");
    let hold = new_hold();
    withdraw(store, &hold, &asked).await;
    for _ in 0..2 {
        is_spent(store, &hold, &asked).await;
        is_free(store, &hold.id).await;
    }
    next_is_the_first(store, &hold.id).await;

    // Of two claims that are withdrawn one after the other, neither takes the key.
    let first = new_hold();
    let second = hold_on(first.id);
    withdraw(store, &first, &asked).await;
    withdraw(store, &second, &asked).await;
    is_spent(store, &second, &asked).await;
    next_is_the_first(store, &first.id).await;
}

/// A copy of a claim that arrives after its hold was released takes nothing.
pub async fn a_claim_behind_its_release_takes_nothing(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
    is_spent(store, &owner, &asked).await;
    is_free(store, &owner.id).await;
    next_is_the_first(store, &owner.id).await;
    is_spent(store, &owner, &asked).await;
}

/// An owner whose hold an operator has released cannot claim the key again.
pub async fn an_operators_release_spends_the_token(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let resolved = store.resolve(&owner.id, &owner.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    is_spent(store, &owner, &asked).await;
    is_free(store, &owner.id).await;
    next_is_the_first(store, &owner.id).await;
}

/// The withdrawal of a take-over leaves the lapsed hold, its attempt and its progress as they were, for the next claim.
pub async fn a_withdrawn_take_over_leaves_what_it_found(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let (asked, other) = (request("book"), request("book something else"));
    for progress in [Bytes::from_static(b"charged"), Bytes::new()] {
        let lost = taken(store, &asked).await;
        if !progress.is_empty() {
            let kept = store.checkpoint(&lost, progress.clone()).await;
            assert_eq!(kept.ok(), Some(IfOwner::Done(())));
        }
        advance(LEASE);
        let took = hold_on(lost.id);
        let second = Claim::Won {
            attempt: 2,
            progress: progress.clone(),
        };
        assert_eq!(claim(store, &took, &asked).await, second);
        withdraw(store, &took, &asked).await;
        let left = inspect(store, &lost.id).await;
        has_left(left.as_ref(), 1, &progress);
        withdraw(store, &took, &asked).await;
        assert_eq!(inspect(store, &lost.id).await, left);

        can_change_nothing(store, &took).await;
        is_spent(store, &took, &asked).await;
        let refusing = hold_on(lost.id);
        let refused = store
            .claim(ClaimRequest::new(&refusing, &asked, OnLost::Refuse))
            .await;
        let refused = refused.expect("a claim");
        assert_eq!(refused, Claim::Unknown { fingerprint: asked });
        assert_eq!(
            claim(store, &hold_on(lost.id), &other).await,
            Claim::InFlight { fingerprint: asked }
        );
        assert_eq!(inspect(store, &lost.id).await, left);
        // Its lease has ended already.
        assert_eq!(claim(store, &hold_on(lost.id), &asked).await, second);
    }
}

/// A take-over of a suspended run that arrives after it was withdrawn takes nothing.
pub async fn a_take_over_behind_its_withdrawal_takes_nothing(store: &Arc<dyn Store>) {
    let (asked, other) = (request("book"), request("book something else"));
    let progress = Bytes::from_static(b"charged");
    let suspended = taken(store, &asked).await;
    let done = store.suspend(&suspended, progress.clone()).await;
    assert_eq!(done.ok(), Some(IfOwner::Done(())));
    let before = inspect(store, &suspended.id).await;
    let (late, asking) = (hold_on(suspended.id), hold_on(suspended.id));
    for (hold, request) in [(&late, &asked), (&asking, &other)] {
        withdraw(store, hold, request).await;
        is_spent(store, hold, request).await;
        assert_eq!(inspect(store, &suspended.id).await, before);
    }
    let next = claim(store, &hold_on(suspended.id), &asked).await;
    let attempt = 2;
    assert_eq!(next, Claim::Won { attempt, progress });
    for spent in [&late, &asking, &suspended] {
        is_spent(store, spent, &asked).await;
    }
}

/// A take-over of a lost run that arrives after it was withdrawn takes nothing, whatever happens to the run in between:
/// its owner recovers, another claim takes over the key, or the key is freed.
pub async fn a_take_over_of_a_lost_run_behind_its_withdrawal_takes_nothing(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let progress = Bytes::from_static(b"charged");
    let owner = taken(store, &asked).await;
    let kept = store.checkpoint(&owner, progress.clone()).await;
    assert_eq!(kept.ok(), Some(IfOwner::Done(())));
    advance(LEASE);
    let late = hold_on(owner.id);
    let is_spent = async || is_spent(store, &late, &asked).await;
    withdraw(store, &late, &asked).await;
    is_spent().await;
    has_left(inspect(store, &owner.id).await.as_ref(), 1, &progress);

    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    is_spent().await;
    let progress = Bytes::from_static(b"charged, sent");
    let kept = store.checkpoint(&owner, progress.clone()).await;
    assert_eq!(kept.ok(), Some(IfOwner::Done(())));
    advance(LEASE);
    is_spent().await;

    let second = hold_on(owner.id);
    let (attempt, left) = (2, progress.clone());
    let taken_over = claim(store, &second, &asked).await;
    let progress = left.clone();
    assert_eq!(taken_over, Claim::Won { attempt, progress });
    is_spent().await;
    let suspended = store.suspend(&second, left.clone()).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    is_spent().await;
    let third = hold_on(owner.id);
    let (attempt, progress) = (3, left);
    let taken_over = claim(store, &third, &asked).await;
    assert_eq!(taken_over, Claim::Won { attempt, progress });
    is_spent().await;

    assert_eq!(store.release(&third).await.ok(), Some(IfOwner::Done(())));
    is_spent().await;
    is_free(store, &owner.id).await;
    next_is_the_first(store, &owner.id).await;
    is_spent().await;
}

/// A claim that arrives after its withdrawal takes nothing, although another run held the key when it was withdrawn and
/// has released it since.
pub async fn a_claim_withdrawn_beside_a_run_takes_nothing_after_it(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let [released, withdrawn, resolved, lost] = [
        taken(store, &asked).await,
        taken(store, &asked).await,
        taken(store, &asked).await,
        taken(store, &asked).await,
    ];
    let mut holds = Vec::new();
    for owner in [&released, &withdrawn, &resolved, &lost] {
        let late = hold_on(owner.id);
        withdraw(store, &late, &asked).await;
        assert_eq!(store.renew(owner).await.ok(), Some(IfOwner::Done(())));
        holds.push(late);
    }
    assert_eq!(store.release(&released).await.ok(), Some(IfOwner::Done(())));
    withdraw(store, &withdrawn, &asked).await;
    let resolution = store.resolve(&resolved.id, &resolved.token, Resolution::Release);
    assert_eq!(resolution.await.ok(), Some(IfOwner::Done(())));
    for late in &holds[..3] {
        is_spent(store, late, &asked).await;
        is_free(store, &late.id).await;
    }
    for owner in [&released, &withdrawn, &resolved] {
        is_spent(store, owner, &asked).await;
    }
    advance(LEASE);
    is_spent(store, &holds[3], &asked).await;
    let took = hold_on(lost.id);
    assert_eq!(claim(store, &took, &asked).await, won(2));
    withdraw(store, &took, &asked).await;
    for spent in [&holds[3], &took] {
        is_spent(store, spent, &asked).await;
    }
}

/// The withdrawal of a claim that never arrived leaves a lapsed hold to its owner, which may only be late.
pub async fn a_withdrawal_leaves_a_late_owner_alone(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let (renewing, completing) = (taken(store, &asked).await, taken(store, &asked).await);
    advance(LEASE);
    for late in [&renewing, &completing] {
        let before = inspect(store, &late.id).await;
        withdraw(store, &hold_on(late.id), &asked).await;
        assert_eq!(inspect(store, &late.id).await, before);
    }
    assert_eq!(store.renew(&renewing).await.ok(), Some(IfOwner::Done(())));
    let outcome = Bytes::from_static(b"booked");
    let done = store.complete(&completing, outcome).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

/// A client that retries while its calls are delayed has several claims in flight, and after their withdrawal none of
/// them takes the key: neither a free one nor one that a run holds.
pub async fn a_key_remembers_several_spent_tokens(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let mut holds = Vec::new();
    holds.resize_with(MAX_SPENT_TOKENS, || hold_on(owner.id));
    for hold in &holds {
        withdraw(store, hold, &asked).await;
    }
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    for hold in &holds {
        is_spent(store, hold, &asked).await;
    }

    let first = new_hold();
    let mut holds = vec![first.clone()];
    holds.resize_with(MAX_SPENT_TOKENS, || hold_on(first.id));
    for hold in &holds {
        withdraw(store, hold, &asked).await;
    }
    for hold in &holds {
        is_spent(store, hold, &asked).await;
        withdraw(store, hold, &asked).await;
    }
    next_is_the_first(store, &first.id).await;
}

/// A withdrawal changes neither another owner's living hold nor a completed record.
pub async fn a_withdrawal_leaves_others_alone(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let before = inspect(store, &owner.id).await;
    withdraw(store, &hold_on(owner.id), &asked).await;
    assert_eq!(inspect(store, &owner.id).await, before);
    let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    let before = inspect(store, &owner.id).await;
    for hold in [&owner, &hold_on(owner.id)] {
        withdraw(store, hold, &asked).await;
        assert_eq!(inspect(store, &owner.id).await, before);
    }
}

/// An operator ends what is left of a lost run after a take-over was withdrawn.
pub async fn an_operator_ends_what_a_withdrawal_left(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let (freed, settled) = (taken(store, &asked).await, taken(store, &asked).await);
    advance(LEASE);
    for lost in [&freed, &settled] {
        let took = hold_on(lost.id);
        assert_eq!(claim(store, &took, &asked).await, won(2));
        withdraw(store, &took, &asked).await;
    }
    let seen = inspect(store, &freed.id).await.expect("a record");
    let resolved = store.resolve(&seen.id, &seen.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    next_is_the_first(store, &freed.id).await;

    let seen = inspect(store, &settled.id).await.expect("a record");
    let outcome = Bytes::from_static(b"settled by hand");
    let resolution = Resolution::Complete {
        outcome: outcome.clone(),
        ttl: super::TTL,
    };
    let resolved = store.resolve(&seen.id, &seen.token, resolution).await;
    assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
    let phase = inspect(store, &settled.id).await.map(|record| record.phase);
    assert_eq!(phase, Some(Phase::Completed { outcome }));
}

/// If a claim and its withdrawal run concurrently, the key is free afterwards, whichever comes first.
pub async fn a_claim_and_its_withdrawal_leave_the_key_free(store: &Arc<dyn Store>) {
    let asked = request("book");
    let mut races = JoinSet::new();
    for _ in 0..super::CROWD {
        let (store, hold, start) = (Arc::clone(store), new_hold(), Arc::new(Barrier::new(2)));
        races.spawn(async move {
            let claiming = async {
                start.wait().await;
                store
                    .claim(ClaimRequest::new(&hold, &asked, OnLost::Refuse))
                    .await
            };
            let withdrawing = async {
                start.wait().await;
                store.withdraw(&hold, &asked).await
            };
            let (claimed, withdrawn) = tokio::join!(claiming, withdrawing);
            withdrawn.expect("a withdrawal");
            match claimed {
                Ok(claim) => assert_eq!(claim, won(1)),
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Withdrawn),
            }
            hold
        });
    }
    for hold in races.join_all().await {
        is_spent(store, &hold, &asked).await;
        next_is_the_first(store, &hold.id).await;
    }
}

pub(super) async fn withdraw(store: &Arc<dyn Store>, hold: &Hold, fingerprint: &Fingerprint) {
    let withdrawn = store.withdraw(hold, fingerprint).await;
    withdrawn.expect("a withdrawal");
}

/// A claim by this token takes nothing, whether or not it may take over.
pub(super) async fn is_spent(store: &Arc<dyn Store>, hold: &Hold, fingerprint: &Fingerprint) {
    let before = inspect(store, &hold.id).await;
    for on_lost in [OnLost::Refuse, OnLost::TakeOver] {
        let claim = store
            .claim(ClaimRequest::new(hold, fingerprint, on_lost))
            .await;
        let kind = claim.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    }
    assert_eq!(inspect(store, &hold.id).await, before);
}

/// Operators see no record.
async fn is_free(store: &Arc<dyn Store>, id: &RecordId) {
    assert_eq!(inspect(store, id).await, None);
    let listed = list(store, None, 1000).await;
    assert!(listed.iter().all(|record| record.id != *id));
}

/// The next claim is a first attempt, even if it may not take over, and its hold is alive.
async fn next_is_the_first(store: &Arc<dyn Store>, id: &RecordId) {
    let (next, other) = (hold_on(*id), request("book something else"));
    let claim = store
        .claim(ClaimRequest::new(&next, &other, OnLost::Refuse))
        .await;
    assert_eq!(claim.expect("a claim"), won(1));
    assert_eq!(store.renew(&next).await.ok(), Some(IfOwner::Done(())));
}

pub(super) async fn can_change_nothing(store: &Arc<dyn Store>, hold: &Hold) {
    let before = inspect(store, &hold.id).await;
    assert_eq!(store.renew(hold).await.ok(), Some(IfOwner::NotOwner));
    let kept = store.checkpoint(hold, Bytes::from_static(b"stale")).await;
    assert_eq!(kept.ok(), Some(IfOwner::NotOwner));
    let completed = store.complete(hold, Bytes::from_static(b"stale")).await;
    assert_eq!(completed.ok(), Some(IfOwner::NotOwner));
    assert_eq!(store.release(hold).await.ok(), Some(IfOwner::NotOwner));
    assert_eq!(inspect(store, &hold.id).await, before);
}

/// A lost run with this progress.
#[track_caller]
pub(super) fn has_left(record: Option<&Record>, attempt: u32, progress: &Bytes) {
    let record = record.expect("a record");
    assert_eq!(record.attempt, attempt);
    let Phase::InFlight { progress: left, .. } = &record.phase else {
        panic!("the run should not have ended, but is {:?}", record.phase);
    };
    assert_eq!(left, progress);
}
