//! The progress that a run stores, and which claims get it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::Barrier, task::yield_now};

use super::{
    Advance, LEASE, MARGIN, TTL, claim, hold_on, inspect, list, operators::noise, request, taken,
    time::lease_of, won,
};
use crate::{
    Store,
    record::Phase,
    store::{Claim, Hold, IfOwner, StoreErrorKind},
};

/// A take-over gets the progress that the previous owner stored last, gets it again if it repeats its claim, and passes
/// it on unless it stores its own. The previous owner can store nothing more.
pub async fn a_take_over_gets_what_was_left(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let first = taken(store, &asked).await;
    keep(store, &first, b"charged").await;
    keep(store, &first, b"charged, sent").await;
    let mut owner = first.clone();
    for attempt in [2, 3] {
        advance(LEASE);
        owner = hold_on(first.id);
        for _ in 0..2 {
            let won = claim(store, &owner, &asked).await;
            assert_eq!(won, won_with(attempt, b"charged, sent"));
        }
        assert_eq!(progress(store, &owner).await, "charged, sent");
    }
    let stale = store.checkpoint(&first, Bytes::from_static(b"stale")).await;
    assert_eq!(stale.ok(), Some(IfOwner::NotOwner));
    assert_eq!(progress(store, &owner).await, "charged, sent");
    keep(store, &owner, b"charged, sent, booked").await;
    assert_eq!(progress(store, &owner).await, "charged, sent, booked");
}

/// If an owner stores its progress or suspends its run while another claim takes over, either the claim gets that
/// progress, or the owner learns that it has lost the key.
pub async fn what_was_kept_is_handed_over(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let mut owners = Vec::new();
    for _ in 0..40 {
        owners.push(taken(store, &asked).await);
    }
    advance(LEASE);
    for (number, owner) in owners.into_iter().enumerate() {
        let start = Arc::new(Barrier::new(2));
        let keeping = tokio::spawn({
            let (store, start) = (Arc::clone(store), Arc::clone(&start));
            let owner = owner.clone();
            async move {
                start.wait().await;
                let charged = Bytes::from_static(b"charged");
                match number % 2 {
                    0 => store.checkpoint(&owner, charged).await,
                    _ => store.suspend(&owner, charged).await,
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
        let kept = keeping.await.expect("the owner").expect("a checkpoint");
        let claimed = claiming.await.expect("the successor");
        match kept {
            IfOwner::Done(()) => assert_eq!(claimed, won_with(2, b"charged")),
            IfOwner::NotOwner => assert_eq!(claimed, won(2)),
        }
    }
}

/// Progress is opaque: text, every byte value, and a megabyte of noise, or as much as the store's limit allows, are
/// returned unchanged.
pub async fn progress_comes_back_byte_for_byte(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    for left in [
        Bytes::from_static(b"{\"b\":1,  \"a\":2.0}\r\n"),
        every_byte.into(),
        noise(store.outcome_limit().min(1 << 20)),
    ] {
        let length = left.len();
        keep(store, &owner, &left).await;
        assert!(
            progress(store, &owner).await == left,
            "an inspection returns {length} bytes unchanged"
        );
        let listed = list(store, None, 2).await;
        assert!(
            listed == [inspect(store, &owner.id).await.expect("a record")],
            "a list returns {length} bytes unchanged"
        );
        let again = claim(store, &owner, &asked).await;
        let Claim::Won { progress, .. } = again else {
            panic!("the owner should win its claim again");
        };
        assert!(progress == left, "a claim returns {length} bytes unchanged");
    }
}

/// A checkpoint that is sent again after a lost reply succeeds again. It changes only the progress, and not the lease
/// or anything else.
pub async fn a_repeated_checkpoint_changes_nothing(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let mut expected = inspect(store, &owner.id).await.expect("the record");
    let Phase::InFlight { progress, .. } = &mut expected.phase else {
        panic!(
            "the record should be in flight, but is {:?}",
            expected.phase
        );
    };
    *progress = Bytes::from_static(b"charged");
    for _ in 0..2 {
        keep(store, &owner, b"charged").await;
        assert_eq!(inspect(store, &owner.id).await.as_ref(), Some(&expected));
    }
    // The hold can still be renewed and ended.
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

/// A renewal leaves the progress as it is, and a later checkpoint does not undo the renewal.
pub async fn a_renewal_keeps_the_progress(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    keep(store, &owner, b"charged").await;
    advance(LEASE - MARGIN);
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(progress(store, &owner).await, "charged");
    let lapses = lease_of(store, &owner).await;
    advance(MARGIN);
    keep(store, &owner, b"charged, sent").await;
    assert_eq!(lease_of(store, &owner).await, lapses);
    advance(LEASE - 2 * MARGIN);
    assert_eq!(
        claim(store, &hold_on(owner.id), &asked).await,
        Claim::InFlight { fingerprint: asked }
    );
    advance(MARGIN);
    assert_eq!(
        claim(store, &hold_on(owner.id), &asked).await,
        won_with(2, b"charged, sent")
    );
}

/// A completion replaces the progress with the outcome, and a release removes it.
pub async fn the_end_of_a_hold_forgets_its_progress(store: &Arc<dyn Store>) {
    let asked = request("book");
    for outcome in [Bytes::new(), Bytes::from_static(b"booked")] {
        let owner = taken(store, &asked).await;
        keep(store, &owner, b"charged").await;
        let done = store.complete(&owner, outcome.clone()).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
        let phase = inspect(store, &owner.id).await.map(|record| record.phase);
        assert_eq!(phase, Some(Phase::Completed { outcome }));
    }
    let owner = taken(store, &asked).await;
    keep(store, &owner, b"charged").await;
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(claim(store, &hold_on(owner.id), &asked).await, won(1));
}

/// A key whose abandoned record has expired starts without progress.
pub async fn an_expired_record_leaves_no_progress(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let dead = taken(store, &asked).await;
    keep(store, &dead, b"charged").await;
    advance(LEASE);
    advance(TTL);
    let kept = store.checkpoint(&dead, Bytes::from_static(b"late")).await;
    assert_eq!(kept.ok(), Some(IfOwner::NotOwner));
    let owner = hold_on(dead.id);
    assert_eq!(claim(store, &owner, &asked).await, won(1));
    assert_eq!(progress(store, &owner).await, "");
}

/// Progress above the store's limit is refused, and the hold stays as it was. A limit above 16 MiB is not tested.
pub async fn progress_above_the_limit_is_refused(store: &Arc<dyn Store>) {
    let limit = store.outcome_limit();
    if limit > 1 << 24 {
        return;
    }
    let owner = taken(store, &request("book")).await;
    keep(store, &owner, b"charged").await;
    let before = inspect(store, &owner.id).await;
    let refused = store.checkpoint(&owner, noise(limit + 1)).await;
    let kind = refused.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::TooLarge));
    assert_eq!(inspect(store, &owner.id).await, before);
    keep(store, &owner, b"charged, sent").await;
}

/// The owner stores this progress.
async fn keep(store: &Arc<dyn Store>, owner: &Hold, left: &[u8]) {
    let kept = store.checkpoint(owner, Bytes::copy_from_slice(left)).await;
    assert_eq!(kept.expect("a checkpoint"), IfOwner::Done(()));
}

async fn progress(store: &Arc<dyn Store>, owner: &Hold) -> Bytes {
    match inspect(store, &owner.id).await.map(|record| record.phase) {
        Some(Phase::InFlight { progress, .. }) => progress,
        other => panic!("the hold should be in flight, but is {other:?}"),
    }
}

fn won_with(attempt: u32, progress: &'static [u8]) -> Claim {
    Claim::Won {
        attempt,
        progress: Bytes::from_static(progress),
    }
}
