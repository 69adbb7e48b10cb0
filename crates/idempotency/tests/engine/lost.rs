//! Work whose owner is lost, and how an operator resolves it.

use std::time::Duration;

use bytes::Bytes;
use idempotency::{
    Clock, Idempotency, MemoryStore, OnDuplicate, OnLost, Options, Rejection, Run, RunError, Scope,
    operators::KeyChange,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, Record, RecordId, Resolution, StoreErrorKind, Token,
    },
};

use crate::{
    Failed, RunResult, charge_with, key,
    watched::{WatchedStore, reaches},
};

const REFUSING: Options = Options::new().on_lost(OnLost::Refuse);

// proves: duplicate-may-wait, dead-owner-taken-over, interrupted-run-stuck
#[tokio::test(start_paused = true)]
async fn a_waiter_learns_that_the_owner_was_lost() {
    let clock = Clock::manual();
    let (store, calls) = WatchedStore::new(&clock);
    let idempotency = Idempotency::builder(store).build();
    let waiting = {
        let seen = lose(&idempotency, &clock).await;
        // The owner renews its lease once more.
        let owner = hold_on(seen.id, seen.token);
        let renewed = idempotency.store().renew(&owner).await;
        assert_eq!(renewed.ok(), Some(IfOwner::Done(())));
        let idempotency = idempotency.clone();
        let options = REFUSING.on_duplicate(OnDuplicate::Wait);
        tokio::spawn(async move { charge_with(&idempotency, &options, async { Ok(2) }).await })
    };
    reaches(&calls.claims, 4).await;
    clock.advance(Duration::from_secs(30));
    assert_unknown(&waiting.await.expect("no panic"));
}

/// The late result of a run that was taken over is not stored.
// proves: lost-lease-stores-nothing, stale-owner-writes
#[tokio::test]
async fn a_run_that_fails_after_it_was_taken_over_gives_the_value_of_the_one_that_counts() {
    let (idempotency, clock) = engine();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let (go_on, goes_on) = tokio::sync::oneshot::channel();
    let late = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            let work = async move {
                begun.send(()).expect("the test waits");
                goes_on.await.expect("a word");
                Err(Failed)
            };
            charge_with::<i32>(&idempotency, &Options::new(), work).await
        }
    });
    has_begun.await.expect("it begins");
    clock.advance(Duration::from_secs(30));
    let taken_over = charge_with(&idempotency, &Options::new(), async { Ok(2) }).await;
    assert_eq!(taken_over.ok(), Some(Run::Executed(2)));
    go_on.send(()).expect("it waits");
    let late = late.await.expect("no panic");
    assert_eq!(late.ok(), Some(Run::Replayed(2)));
}

// proves: dead-owner-taken-over, interrupted-run-stuck
#[tokio::test]
async fn a_caller_gets_the_value_that_an_operator_has_given() {
    let (idempotency, clock) = engine();
    let seen = lose(&idempotency, &clock).await;
    let given = Resolution::Complete {
        outcome: idempotency.outcome_of_value(&7),
        ttl: Duration::from_secs(60),
    };
    let mut stranger = seen.clone();
    stranger.token = Token::random();
    for (record, expected) in [
        (&stranger, IfOwner::NotOwner),
        (&seen, IfOwner::Done(())),
        (&seen, IfOwner::NotOwner),
    ] {
        let resolved = idempotency.resolve(record, given.clone()).await;
        assert_eq!(resolved.expect("a reply"), expected);
    }
    let response = charge_with(&idempotency, &REFUSING, async { Ok(2) }).await;
    assert_eq!(response.expect("a value"), Run::Replayed(7));
    clock.advance(Duration::from_secs(66));
    let response = charge_with(&idempotency, &REFUSING, async { Ok(2) }).await;
    assert_eq!(response.expect("a value"), Run::Executed(2));
}

/// The clock of this process is past every lease of the store's, which counts from 1970.
// proves: lost-key-resolved-as-seen, store-clock-decides
#[tokio::test]
async fn a_run_that_has_recovered_since_it_was_seen_is_not_ended() {
    let (idempotency, clock) = engine();
    let store = idempotency.store();
    let seen = lose(&idempotency, &clock).await;
    let owner = hold_on(seen.id, seen.token);
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    let renewed = store.inspect(&seen.id).await.expect("a reply");
    let given = Resolution::Complete {
        outcome: idempotency.outcome_of_value(&7),
        ttl: Duration::from_secs(60),
    };
    for resolution in [Resolution::Release, given] {
        let change = idempotency.resolve_lost(&seen, resolution).await;
        assert_eq!(change.ok(), Some(KeyChange::Held));
        assert_eq!(store.inspect(&seen.id).await.expect("a reply"), renewed);
    }
    clock.advance(Duration::from_secs(30));
    let change = idempotency.resolve_lost(&seen, Resolution::Release).await;
    assert_eq!(change.ok(), Some(KeyChange::Made));
    // The owner is shut out, although the key is free: a claim that it sends again takes nothing.
    let claim = ClaimRequest::new(&owner, &seen.fingerprint, OnLost::Refuse);
    let late = store.claim(claim).await.map_err(|error| error.kind());
    assert_eq!(late, Err(StoreErrorKind::Withdrawn));
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::NotOwner));
    let change = idempotency.resolve_lost(&seen, Resolution::Release).await;
    assert_eq!(change.ok(), Some(KeyChange::Free));
    assert_eq!(store.inspect(&seen.id).await.expect("a reply"), None);
    let response = charge_with(&idempotency, &REFUSING, async { Ok(2) }).await;
    assert_eq!(response.expect("a value"), Run::Executed(2));
    let change = idempotency.resolve_lost(&seen, Resolution::Release).await;
    assert_eq!(change.ok(), Some(KeyChange::Changed));
}

/// A lost run gets a response, and so does one that was suspended. A later attempt is not the one that was seen.
// proves: lost-key-resolved-as-seen
#[tokio::test]
async fn a_lost_run_is_ended_only_as_it_was_seen() {
    let (idempotency, clock) = engine();
    let store = idempotency.store();
    let seen = lose(&idempotency, &clock).await;
    let next = hold_on(seen.id, Token::random());
    let claim = ClaimRequest::new(&next, &seen.fingerprint, OnLost::TakeOver);
    let claimed = store.claim(claim).await;
    assert!(matches!(claimed, Ok(Claim::Won { attempt: 2, .. })));
    let suspended = store.suspend(&next, Bytes::from_static(b"charged")).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    let given = Resolution::Complete {
        outcome: idempotency.outcome_of_value(&7),
        ttl: Duration::from_secs(60),
    };
    let change = idempotency.resolve_lost(&seen, given.clone()).await;
    assert_eq!(change.ok(), Some(KeyChange::Changed));
    let seen = store.inspect(&seen.id).await.expect("a reply");
    let seen = seen.expect("a record");
    assert_eq!(seen.attempt, 2, "as before");
    let change = idempotency.resolve_lost(&seen, given).await;
    assert_eq!(change.ok(), Some(KeyChange::Made));
    let response = charge_with(&idempotency, &REFUSING, async { Ok(2) }).await;
    assert_eq!(response.expect("a value"), Run::Replayed(7));
}

/// The key was freed, and another run lost it: its attempt has the number of the one that was seen.
// proves: lost-key-resolved-as-seen
#[tokio::test]
async fn a_newer_run_that_is_lost_too_is_not_the_one_that_was_seen() {
    let (idempotency, clock) = engine();
    let seen = lose(&idempotency, &clock).await;
    let freed = idempotency.resolve(&seen, Resolution::Release).await;
    assert_eq!(freed.ok(), Some(IfOwner::Done(())));
    let newer = lose(&idempotency, &clock).await;
    assert_eq!((newer.id, newer.attempt), (seen.id, seen.attempt));
    let change = idempotency.resolve_lost(&seen, Resolution::Release).await;
    assert_eq!(change.ok(), Some(KeyChange::Changed));
    let left = idempotency.store().inspect(&seen.id).await;
    assert_eq!(left.expect("a reply"), Some(newer));
}

fn hold_on(id: RecordId, token: Token) -> Hold {
    Hold::new(
        id,
        token,
        Duration::from_secs(30),
        Duration::from_secs(3600),
    )
}

fn engine() -> (Idempotency, Clock) {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    (Idempotency::new(store), clock)
}

/// The record of "charge" under the key "k" after its process has died and its lease has expired.
async fn lose(idempotency: &Idempotency, clock: &Clock) -> Record {
    let store = idempotency.store();
    let first = charge_with(idempotency, &Options::new(), async { Ok(1) }).await;
    assert_eq!(first.expect("a value"), Run::Executed(1));
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let completed = store.inspect(&id).await.expect("a reply");
    let fingerprint = completed.expect("a record").fingerprint;
    // The same request's record again, but without a run.
    clock.advance(Duration::from_secs(24 * 3600 + 60));
    let dead = hold_on(id, Token::random());
    let claimed = store
        .claim(ClaimRequest::new(&dead, &fingerprint, OnLost::Refuse))
        .await;
    assert!(
        matches!(claimed, Ok(Claim::Won { attempt: 1, .. })),
        "{claimed:?}"
    );
    clock.advance(dead.lease);
    let record = store.inspect(&id).await.expect("a reply");
    record.expect("a record")
}

#[track_caller]
fn assert_unknown(response: &RunResult<u32>) {
    assert!(
        matches!(response, Err(RunError::Rejected(Rejection::OutcomeUnknown))),
        "{response:?}"
    );
}
