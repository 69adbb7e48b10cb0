//! How a store with a limit of its own shares out its room.
//!
//! These functions need a store that holds no more than [`LIMIT_BYTES`], so [`all`](super::all) leaves them out.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Advance, LEASE, TTL, TestStore, claim, completed, hold_on, inspect, new_hold, request, won,
};
use crate::{
    OnLost, Store,
    record::{ScopeId, Token},
    store::{Claim, ClaimRequest, Hold, IfOwner, Resolution, StoreError, StoreErrorKind},
};

/// The limit of the stores in these tests: small, but large enough for records to show how the room is shared.
pub const LIMIT_BYTES: usize = 100_000;

const FLOOD: ScopeId = ScopeId::from_bytes([1; 8]);
const OTHER: ScopeId = ScopeId::from_bytes([2; 8]);
const THIRD: ScopeId = ScopeId::from_bytes([3; 8]);

/// More records than fit into [`LIMIT_BYTES`] in any store, because each has an id, a fingerprint and a token.
const TOO_MANY: usize = LIMIT_BYTES / 80;

/// Runs every function of this module, each on a store that `open` makes.
pub async fn all(open: impl AsyncFn() -> TestStore) {
    crate::__contract!(shares: run_each, open);
}

/// A scope gets most of an empty store, but not all of it; the rest is left for other scopes.
pub async fn a_scope_that_floods_leaves_room_for_others(store: &Arc<dyn Store>) {
    let taken = flood(store, FLOOD).await.len();
    for number in 0..taken / 10 {
        assert!(take(store, OTHER).await.is_ok(), "{number} of {taken}");
    }
    is_refused(store, FLOOD).await;
    assert!(store.check_room(&OTHER).is_ok());
    assert!(take(store, THIRD).await.is_ok());
}

/// A store that many scopes have filled refuses the keys of further scopes too. It forgets no record for them, and
/// stores the outcomes of those that run.
pub async fn a_full_store_refuses_every_scope(store: &Arc<dyn Store>) {
    let replayed = completed(store, &request("book"), b"booked").await;
    let scope = |number: usize| ScopeId::from_bytes((number as u64).to_le_bytes());
    let mut taken = Vec::new();
    let refused = loop {
        match take(store, scope(taken.len())).await {
            Ok(hold) => taken.push(hold),
            Err(error) => break error,
        }
        assert!(taken.len() < TOO_MANY, "the store should be full");
    };
    let check = store.check_room(&scope(taken.len()));
    for error in [refused, check.expect_err("no room")] {
        assert_eq!(error.kind(), StoreErrorKind::Full, "{error:?}");
    }
    let again = claim(store, &hold_on(replayed.id), &request("book")).await;
    assert!(matches!(again, Claim::Completed { outcome, .. } if outcome == b"booked"[..]));
    for hold in &taken {
        complete(store, hold, 100).await;
    }
}

/// A refused key has no record, and the same claim takes it once there is room.
pub async fn a_refused_key_leaves_nothing(store: &Arc<dyn Store>) {
    let taken = flood(store, FLOOD).await;
    let hold = of(FLOOD);
    for _ in 0..2 {
        let refused = store
            .claim(ClaimRequest::new(&hold, &request("book"), OnLost::TakeOver))
            .await;
        let kind = refused.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::ScopeFull));
        assert_eq!(inspect(store, &hold.id).await, None);
    }
    free(store, &taken[0]).await;
    assert_eq!(claim(store, &hold, &request("book")).await, won(1));
}

/// A scope without room for new keys keeps its old ones: they are replayed, completed and taken over.
pub async fn old_keys_are_replayed_and_running_ones_complete(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let replayed = completed(store, &asked, b"booked").await;
    let scope = replayed.scope;
    let taken = flood(store, scope).await;
    let again = claim(store, &hold_on(replayed.id), &asked).await;
    assert!(matches!(again, Claim::Completed { outcome, .. } if outcome == b"booked"[..]));
    complete(store, &taken[0], 1000).await;
    assert_eq!(store.renew(&taken[1]).await.ok(), Some(IfOwner::Done(())));
    let kept = store.checkpoint(&taken[1], Bytes::from(vec![0; 1000]));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    // The previous run stored no progress.
    assert_eq!(claim(store, &taken[2], &asked).await, won(1));
    is_refused(store, scope).await;
    advance(LEASE);
    let successor = taken[2].clone().with_token(Token::random());
    assert_eq!(claim(store, &successor, &asked).await, won(2));
    complete(store, &successor, 1000).await;
    is_refused(store, scope).await;
}

/// A key that is freed by its owner, a withdrawal or an operator makes room for exactly one other key.
pub async fn room_comes_back_as_keys_are_freed(store: &Arc<dyn Store>) {
    let taken = flood(store, FLOOD).await;
    free(store, &taken[0]).await;
    assert!(take(store, FLOOD).await.is_ok());
    is_refused(store, FLOOD).await;

    let withdrawn = store.withdraw(&taken[1], &request("book")).await;
    withdrawn.expect("a withdrawal");
    // Its mark takes no room, and goes when the key is taken again.
    assert!(take(store, FLOOD).await.is_ok());
    is_refused(store, FLOOD).await;
    free(store, &taken[2]).await;
    let again = hold_on(taken[1].id);
    let again = again.with_scope(FLOOD);
    assert_eq!(claim(store, &again, &request("book")).await, won(1));
    is_refused(store, FLOOD).await;

    let owner = &taken[3];
    let released = store.resolve(&owner.id, &owner.token, Resolution::Release);
    assert_eq!(released.await.ok(), Some(IfOwner::Done(())));
    assert!(take(store, FLOOD).await.is_ok());
    is_refused(store, FLOOD).await;
}

/// Once its keys have expired and are swept, a scope has as much room as at first, whether they were completed or not.
pub async fn room_comes_back_as_keys_expire(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let taken = flood(store, FLOOD).await;
    complete(store, &taken[0], 1000).await;
    complete(store, &taken[1], 0).await;
    advance(LEASE);
    advance(TTL);
    let swept = store.purge_expired(usize::MAX).await.expect("a sweep");
    assert_eq!(swept, taken.len());
    for _ in 0..2 {
        // Each of these replaces its own expired record the second time, and is counted once.
        for expired in &taken[..10] {
            let hold = expired.clone().with_token(Token::random());
            assert_eq!(claim(store, &hold, &request("book")).await, won(1));
            complete(store, &hold, 100).await;
        }
        advance(TTL);
    }
    store.purge_expired(usize::MAX).await.expect("a sweep");
    assert_eq!(flood(store, FLOOD).await.len(), taken.len());
}

/// Progress and outcomes take the room of their record's scope, and free it with the record.
pub async fn what_runs_leave_counts_for_their_scope(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let owner = take(store, FLOOD).await.expect("room");
    assert!(take(store, OTHER).await.is_ok());
    let left = Bytes::from(vec![0; LIMIT_BYTES * 9 / 10]);
    let kept = store.checkpoint(&owner, left.clone()).await;
    assert_eq!(kept.ok(), Some(IfOwner::Done(())));
    is_refused(store, FLOOD).await;
    assert!(take(store, OTHER).await.is_ok());
    // The outcome replaces the progress.
    complete(store, &owner, 0).await;
    let owner = take(store, FLOOD).await.expect("room");
    complete(store, &owner, left.len()).await;
    is_refused(store, FLOOD).await;
    assert!(take(store, OTHER).await.is_ok());
    advance(LEASE);
    advance(TTL);
    store.purge_expired(usize::MAX).await.expect("a sweep");
    assert!(take(store, FLOOD).await.is_ok());
}

/// Two scopes that flood the store are refused at the same level, and a third scope still has room.
pub async fn two_scopes_that_flood_get_as_much(store: &Arc<dyn Store>) {
    let mut taken = [0_usize; 2];
    let mut refused = [false; 2];
    while refused != [true; 2] {
        for (number, scope) in [FLOOD, OTHER].into_iter().enumerate() {
            match take(store, scope).await {
                Ok(_) => taken[number] += 1,
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::ScopeFull);
                    refused[number] = true;
                }
            }
        }
        assert!(taken[0] + taken[1] < TOO_MANY, "{taken:?}");
    }
    assert!(taken[0].abs_diff(taken[1]) <= 1, "{taken:?}");
    assert!(take(store, THIRD).await.is_ok());
}

/// Takes new keys until the scope is refused, and returns their holds.
async fn flood(store: &Arc<dyn Store>, scope: ScopeId) -> Vec<Hold> {
    let mut taken = Vec::new();
    loop {
        match take(store, scope).await {
            Ok(hold) => taken.push(hold),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::ScopeFull);
                break;
            }
        }
        assert!(
            taken.len() < TOO_MANY,
            "the scope should be refused at some point"
        );
    }
    is_refused(store, scope).await;
    assert!(
        taken.len() >= 20,
        "a scope should get most of the store, but got {}",
        taken.len()
    );
    taken
}

async fn take(store: &Arc<dyn Store>, scope: ScopeId) -> Result<Hold, StoreError> {
    let hold = of(scope);
    let claimed = store
        .claim(ClaimRequest::new(&hold, &request("book"), OnLost::TakeOver))
        .await;
    assert_eq!(claimed?, won(1));
    Ok(hold)
}

async fn is_refused(store: &Arc<dyn Store>, scope: ScopeId) {
    for kind in [take(store, scope).await.map(drop), store.check_room(&scope)] {
        let kind = kind.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::ScopeFull));
    }
}

async fn free(store: &Arc<dyn Store>, hold: &Hold) {
    assert_eq!(store.release(hold).await.ok(), Some(IfOwner::Done(())));
}

async fn complete(store: &Arc<dyn Store>, hold: &Hold, length: usize) {
    let completed = store.complete(hold, Bytes::from(vec![0; length])).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
}

fn of(scope: ScopeId) -> Hold {
    new_hold().with_scope(scope)
}
