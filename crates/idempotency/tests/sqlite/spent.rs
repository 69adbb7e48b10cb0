//! What the file stores about suspended runs and spent tokens.

use super::*;

async fn withdraw(store: &SqliteStore, hold: &Hold) {
    let withdrawn = store.withdraw(hold, &asked()).await;
    withdrawn.expect("a withdrawal");
}

/// A claim by this token takes nothing.
async fn is_spent(store: &SqliteStore, hold: &Hold) -> bool {
    let late = claim(store, hold, &asked()).await;
    late.is_err_and(|error| error.kind() == StoreErrorKind::Withdrawn)
}

/// How many bytes of spent tokens the only record has in addition to its own token.
async fn beside(store: &SqliteStore) -> Option<i64> {
    let length = "select length(spent) from idempotency_records";
    let beside = store
        .database()
        .read(move |connection| connection.query_row(length, (), |row| row.get(0)));
    beside.await.expect("a record")
}

// proves: downstream-key-derived, dropped-future-loses-nothing
#[tokio::test]
async fn a_suspended_run_goes_on_after_a_restart() {
    let folder = Folder::new();
    let owner = hold(1);
    let progress = Bytes::from_static(b"charged");
    {
        let store = SqliteStore::open(folder.file()).expect("a store");
        claim(&store, &owner, &asked()).await.expect("a claim");
        let suspended = store.suspend(&owner, progress.clone()).await;
        assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    }
    let store = SqliteStore::open(folder.file()).expect("a store");
    assert!(is_spent(&store, &owner).await);
    let again = store.suspend(&owner, Bytes::new()).await;
    assert_eq!(again.ok(), Some(IfOwner::Done(())));
    let attempt = 2;
    let next = claim(&store, &hold(1), &asked()).await;
    assert_eq!(next.ok(), Some(Claim::won(attempt, progress)));
}

#[tokio::test]
async fn a_suspension_wakes_those_who_wait_once_it_is_durable() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let owner = hold(1);
    claim(&store, &owner, &asked()).await.expect("a claim");
    let mut subscription = store.subscribe(&owner.id);
    let go_on = hold_up(store.database()).await;
    begin(pin!(store.suspend(&owner, Bytes::from_static(b"charged"))).as_mut()).await;
    assert!(!is_ready(subscription.changed()).await);
    drop(go_on);
    // Later calls complete later.
    store.database().write(|_| Ok(())).await.expect("a write");
    assert!(is_ready(subscription.changed()).await);
    let next = claim(&store, &hold(1), &asked()).await;
    let next = next.expect("a claim");
    assert!(matches!(next, Claim::Won { attempt: 2, .. }), "{next:?}");
}

// proves: store-clock-decides
#[tokio::test]
async fn a_suspended_run_is_forgotten_a_ttl_later() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let store = store.with_clock(clock.clone());
    let owner = hold(1);
    claim(&store, &owner, &asked()).await.expect("a claim");
    let suspended = store.suspend(&owner, Bytes::new()).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    clock.advance(TTL - Duration::from_millis(1));
    assert_eq!(store.purge_expired(10).await.ok(), Some(0));
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.purge_expired(10).await.ok(), Some(1));
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn the_last_spent_tokens_stay_spent_over_a_restart_and_no_more_are_kept() {
    let folder = Folder::new();
    let holds: Vec<_> = (0..12).map(|_| hold(1)).collect();
    {
        let store = SqliteStore::open(folder.file()).expect("a store");
        for hold in &holds {
            withdraw(&store, hold).await;
        }
        // Its own token is not among them.
        assert_eq!(beside(&store).await, Some(8 * 16));
    }
    let store = SqliteStore::open(folder.file()).expect("a store");
    for hold in &holds[3..] {
        assert!(is_spent(&store, hold).await);
        withdraw(&store, hold).await;
        assert_eq!(beside(&store).await, Some(8 * 16));
    }
    // The earliest token is dropped. A run under this key keeps the others.
    assert_eq!(claim(&store, &holds[2], &asked()).await.ok(), Some(won(1)));
    assert_eq!(beside(&store).await, Some(8 * 16));
    assert_eq!(claim(&store, &holds[2], &asked()).await.ok(), Some(won(1)));
    let completed = store.complete(&holds[2], Bytes::from_static(b"booked"));
    completed.await.expect("a completion");
    assert_eq!(beside(&store).await, None);
}

/// A mark that ends sooner shortens no other, whichever comes first.
// proves: store-clock-decides, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_mark_lasts_as_long_as_the_longest_of_its_tokens() {
    for long_is_first in [true, false] {
        let folder = Folder::new();
        let clock = Clock::manual();
        let store = SqliteStore::open(folder.file()).expect("a store");
        let store = store.with_clock(clock.clone());
        let long = hold(1);
        let short = hold(1)
            .with_lease(Duration::ZERO)
            .with_ttl(Duration::from_secs(1));
        let marks = if long_is_first {
            [&long, &short]
        } else {
            [&short, &long]
        };
        for hold in marks {
            withdraw(&store, hold).await;
        }
        clock.advance(LEASE + TTL - Duration::from_millis(1));
        assert!(is_spent(&store, &long).await);
        assert_eq!(store.purge_expired(10).await.ok(), Some(0));
        clock.advance(Duration::from_millis(1));
        assert_eq!(store.purge_expired(10).await.ok(), Some(1));
    }
}

/// An expired mark has no effect, so its tokens are not copied to the next one.
// proves: dropped-future-loses-nothing
#[tokio::test]
async fn a_mark_past_its_time_hands_no_tokens_on() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let store = store.with_clock(clock.clone());
    let (first, second, third) = (hold(1), hold(1), hold(1));
    withdraw(&store, &first).await;
    withdraw(&store, &second).await;
    clock.advance(LEASE + TTL);
    withdraw(&store, &third).await;
    assert_eq!(beside(&store).await, None);
    assert!(is_spent(&store, &third).await);
    assert_eq!(claim(&store, &first, &asked()).await.ok(), Some(won(1)));
}
