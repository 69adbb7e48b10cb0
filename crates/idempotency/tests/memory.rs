//! Behaviour of the memory store alone: it has a limit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, MemoryStore, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, RecordId, StoreError, StoreErrorKind, Token},
};

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(3600);

/// Room for this many records, at the 400 bytes each that `with_limit_bytes` documents.
const ROOM: u8 = 4;

fn store(clock: &Clock) -> MemoryStore {
    MemoryStore::new()
        .with_limit_bytes(usize::from(ROOM) * 400)
        .with_clock(clock.clone())
}

fn hold(key: u8) -> Hold {
    Hold::new(RecordId::from_bytes([key; 32]), Token::random(), LEASE, TTL)
        .with_scope(idempotency::store::ScopeId::from_bytes([key; 8]))
}

fn asked() -> Fingerprint {
    Fingerprint::of([b"book".as_slice()])
}

/// A claim that takes over an expired lease.
async fn claim(store: &MemoryStore, hold: &Hold, asked: &Fingerprint) -> Result<Claim, StoreError> {
    store
        .claim(ClaimRequest::new(hold, asked, OnLost::TakeOver))
        .await
}

/// A claim that is won as this attempt, without progress from an earlier run.
fn won(attempt: u32) -> Claim {
    Claim::won(attempt, Bytes::new())
}

async fn is_full(store: &MemoryStore, key: u8) -> bool {
    match claim(store, &hold(key), &asked()).await {
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Full);
            true
        }
        Ok(claim) => {
            assert_eq!(claim, won(1));
            false
        }
    }
}

// proves: full-store-forgets-none, memory-limit-drops-records
#[tokio::test]
async fn a_full_store_refuses_new_keys_and_keeps_the_old_ones() {
    let clock = Clock::manual();
    let store = store(&clock);
    let running: Vec<_> = (0..ROOM).map(hold).collect();
    for hold in &running {
        let claimed = claim(&store, hold, &asked()).await.expect("room");
        assert_eq!(claimed, won(1));
    }
    for key in 100..200 {
        assert!(is_full(&store, key).await);
    }
    // A run that was admitted may end, although its outcome takes room too.
    for hold in &running {
        let outcome = Bytes::from(vec![hold.id.as_bytes()[0]; 10_000]);
        let done = store.complete(hold, outcome).await.expect("a completion");
        assert!(matches!(done, IfOwner::Done(_)));
    }
    for key in 100..200 {
        assert!(is_full(&store, key).await);
    }
    for key in 0..ROOM {
        let replay = claim(&store, &hold(key), &asked()).await.expect("a replay");
        let Claim::Completed { outcome, .. } = replay else {
            panic!("key {key} is completed, and not {replay:?}");
        };
        assert_eq!(outcome, vec![key; 10_000]);
    }
}

// proves: full-store-forgets-none
#[tokio::test]
async fn a_full_store_lets_an_expired_hold_be_taken_over() {
    let clock = Clock::manual();
    let store = store(&clock);
    for key in 0..ROOM {
        assert!(!is_full(&store, key).await);
    }
    clock.advance(LEASE);
    for key in 0..ROOM {
        let claim = claim(&store, &hold(key), &asked())
            .await
            .expect("a take-over");
        assert_eq!(claim, won(2));
    }
    assert!(is_full(&store, 100).await);
}

// proves: full-store-forgets-none
#[tokio::test]
async fn progress_takes_room_until_it_is_forgotten() {
    let clock = Clock::manual();
    let store = store(&clock);
    let (first, second) = (hold(0), hold(1));
    for hold in [&first, &second] {
        let claimed = claim(&store, hold, &asked()).await.expect("room");
        assert_eq!(claimed, won(1));
    }
    // As much as the two other records for which there is room. Only the last progress counts.
    for length in [1, 400, 800] {
        let kept = store.checkpoint(&first, Bytes::from(vec![b'a'; length]));
        assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    }
    assert!(is_full(&store, 100).await);
    // The successor gets the progress, and the outcome replaces it.
    clock.advance(LEASE);
    let successor = hold(0);
    let taken = claim(&store, &successor, &asked())
        .await
        .expect("a take-over");
    assert!(matches!(taken, Claim::Won { progress, .. } if progress.len() == 800));
    assert!(is_full(&store, 100).await);
    let done = store.complete(&successor, Bytes::from(vec![b'b'; 400]));
    assert!(matches!(done.await, Ok(IfOwner::Done(_))));
    assert!(!is_full(&store, 100).await);
    assert!(is_full(&store, 101).await);

    // When a record is released or expires, its progress is removed too.
    let kept = store.checkpoint(&second, Bytes::from(vec![b'a'; 400]));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    assert_eq!(store.release(&second).await.ok(), Some(IfOwner::Done(())));
    assert!(!is_full(&store, 101).await);
    assert!(is_full(&store, 102).await);
}

// proves: full-store-forgets-none, sweep-removes-only-expired
#[tokio::test]
async fn room_is_freed_when_records_are_released_or_expire() {
    let clock = Clock::manual();
    let store = store(&clock);
    let first = hold(0);
    claim(&store, &first, &asked()).await.expect("room");
    for key in 1..ROOM {
        assert!(!is_full(&store, key).await);
    }
    assert!(is_full(&store, 100).await);
    assert_eq!(store.release(&first).await.ok(), Some(IfOwner::Done(())));
    assert!(!is_full(&store, 100).await);
    assert!(is_full(&store, 101).await);

    clock.advance(LEASE + TTL);
    let swept = store.purge_expired(usize::MAX).await.expect("a sweep");
    // The records, and the mark of the released key.
    assert_eq!(swept, usize::from(ROOM) + 1);
    for key in 0..ROOM {
        assert!(!is_full(&store, key).await);
    }
    assert!(is_full(&store, 101).await);
}

// proves: expired-key-is-new, full-store-forgets-none
#[tokio::test]
async fn a_full_store_lets_a_new_key_have_the_room_of_an_expired_one() {
    let clock = Clock::manual();
    let store = store(&clock);
    // Ids with a common prefix are neighbours.
    let beside = |key: u8| {
        let mut hold = hold(0).with_scope(hold(key).scope);
        let mut id = *hold.id.as_bytes();
        id[31] = key;
        hold.id = RecordId::from_bytes(id);
        hold
    };
    for key in 0..ROOM {
        let claimed = claim(&store, &beside(key), &asked()).await.expect("room");
        assert_eq!(claimed, won(1));
    }
    assert!(claim(&store, &beside(100), &asked()).await.is_err());
    clock.advance(LEASE + TTL);
    let claimed = claim(&store, &beside(100), &asked()).await.expect("room");
    assert_eq!(claimed, won(1));
}

// proves: one-atomic-claim, stale-owner-writes
#[tokio::test]
async fn a_call_that_does_not_wait_is_the_same_step() {
    let clock = Clock::manual();
    // A handle on a store passes such calls on.
    let store: Arc<dyn Store> = Arc::new(store(&clock));
    let (owner, other, asked) = (hold(1), hold(1), asked());
    let claim_now = |hold: &Hold| {
        let request = ClaimRequest::new(hold, &asked, OnLost::TakeOver);
        let claimed = store.claim_now(request).expect("memory does not wait");
        claimed.expect("room")
    };
    let complete_now = |hold: &Hold| {
        let outcome = Bytes::from_static(b"booked");
        let completed = store.complete_now(hold, &outcome);
        completed.expect("memory does not wait").expect("memory")
    };
    assert_eq!(claim_now(&owner), won(1));
    let waits = ClaimRequest::new(&other, &asked, OnLost::TakeOver);
    let waits = store.claim(waits).await.expect("room");
    assert_eq!(waits, Claim::in_flight(asked));
    assert_eq!(claim_now(&other), Claim::in_flight(asked));
    assert_eq!(complete_now(&other), IfOwner::NotOwner);
    let IfOwner::Done(expires_at) = complete_now(&owner) else {
        panic!("the owner completes its run");
    };
    assert_eq!(expires_at, clock.now() + TTL);
    let replay = Claim::completed(asked, "booked".into(), expires_at);
    assert_eq!(claim_now(&other), replay);
}

// proves: full-store-forgets-none
#[tokio::test]
async fn a_claim_that_does_not_wait_is_refused_by_a_full_store() {
    let clock = Clock::manual();
    let store = store(&clock);
    for key in 0..ROOM {
        assert!(!is_full(&store, key).await);
    }
    let (hold, asked) = (hold(100), asked());
    let refused = store.claim_now(ClaimRequest::new(&hold, &asked, OnLost::TakeOver));
    let refused = refused.expect("memory does not wait").err();
    let kind = refused.map(|error| error.kind());
    assert_eq!(kind, Some(StoreErrorKind::Full));
}

// proves: outcomes-are-counted
#[tokio::test]
async fn records_are_counted_until_they_are_swept() {
    let clock = Clock::manual();
    let store = store(&clock);
    let handle: Arc<dyn Store> = Arc::new(store.clone());
    for key in 0..ROOM {
        let claimed = claim(&store, &hold(key), &asked()).await;
        assert_eq!(claimed.ok(), Some(won(1)));
    }
    let counted = handle.live_records().await.expect("a count");
    assert_eq!(counted, Some(ROOM.into()));
    clock.advance(2 * (LEASE + TTL));
    store.purge_expired(usize::MAX).await.expect("a sweep");
    let counted = handle.live_records().await.expect("a count");
    assert_eq!(counted, Some(0));
}

// proves: live-owner-replaced
#[tokio::test]
async fn a_key_stays_taken_beyond_the_times_that_a_record_can_have() {
    let clock = Clock::manual();
    let store = store(&clock);
    clock.advance(Duration::from_secs(530 * 366 * 86_400));
    let claimed = claim(&store, &hold(1), &asked()).await;
    assert_eq!(claimed.ok(), Some(won(1)));
    let again = claim(&store, &hold(1), &asked()).await;
    assert_eq!(again.ok(), Some(Claim::in_flight(asked())));
    assert_eq!(store.purge_expired(usize::MAX).await.ok(), Some(0));
}

/// A sequence that is always the same (a linear congruential generator).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

// proves: outcomes-are-counted
#[tokio::test]
async fn each_record_is_swept_when_it_expires_whatever_the_order() {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let handle: Arc<dyn Store> = Arc::new(store.clone());
    let mut chance = Chance(7);
    let mut ends = HashMap::new();
    for _ in 0..4000 {
        clock.advance(Duration::from_millis(chance.below(20)));
        let key = u16::try_from(chance.below(900)).expect("a small number");
        let mut id = [0; 32];
        // In few parts of the store, and in no order within them.
        id[0] = u8::try_from(key % 4).expect("a small number");
        id[30..].copy_from_slice(&key.to_be_bytes());
        let ttl = Duration::from_secs([3, 10, 10, 10, 60][usize::from(key) % 5]);
        let hold = Hold::new(RecordId::from_bytes(id), Token::random(), LEASE, ttl);
        if let Ok(Claim::Won { .. }) = claim(&store, &hold, &asked()).await {
            clock.advance(Duration::from_millis(chance.below(30)));
            // Some responses have a ttl of their own.
            let hold = match chance.below(4) {
                0 => hold.with_ttl(Duration::from_millis(chance.below(5000))),
                _ => hold,
            };
            let completed = store.complete(&hold, Bytes::from_static(b"done")).await;
            assert!(matches!(completed, Ok(IfOwner::Done(_))));
            ends.insert(id, clock.now() + hold.ttl);
        }
        ends.retain(|_, end| *end > clock.now());
        store.purge_expired(usize::MAX).await.expect("a sweep");
        let counted = handle.live_records().await.expect("a count");
        assert_eq!(counted, Some(ends.len() as u64));
    }
}
