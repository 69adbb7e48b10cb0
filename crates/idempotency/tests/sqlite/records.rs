//! What is in the file, and what becomes of it.

use super::*;

/// The result of each verb on the record under this hold.
async fn verdicts(store: &SqliteStore, hold: &Hold) -> Vec<(&'static str, Option<StoreErrorKind>)> {
    fn kind<T>(response: Result<T, StoreError>) -> Option<StoreErrorKind> {
        response.err().map(|error| error.kind())
    }
    let resolution = Resolution::Release;
    vec![
        ("claim", kind(claim(store, &super::hold(1), &asked()).await)),
        ("renew", kind(store.renew(hold).await)),
        (
            "checkpoint",
            kind(store.checkpoint(hold, Bytes::new()).await),
        ),
        ("complete", kind(store.complete(hold, Bytes::new()).await)),
        ("release", kind(store.release(hold).await)),
        ("inspect", kind(store.inspect(&hold.id).await)),
        (
            "resolve",
            kind(store.resolve(&hold.id, &hold.token, resolution).await),
        ),
    ]
}

// proves: other-version-is-error, newer-record-fails-alone, damaged-record-frees-key
// proves: newer-value-fails-all
#[tokio::test]
async fn a_damaged_record_is_an_error_for_every_caller_and_never_absent() {
    for damage in [
        "fingerprint = x'00'",
        "token = x''",
        "attempt = -1",
        "attempt = 0",
        "phase = 9",
        "lease_until = null",
        "lease_until = -1",
        "phase = 2",
        "created_at = -1",
    ] {
        let folder = Folder::new();
        let store = SqliteStore::open(folder.file()).expect("a store");
        let (owner, others) = (hold(1), [hold(0), hold(2)]);
        for hold in [&owner, &others[0], &others[1]] {
            claim(&store, hold, &asked()).await.expect("a claim");
        }
        let statement = format!("update idempotency_records set {damage} where token = ?1");
        let token = owner.token;
        let damaged = store
            .database()
            .write(move |connection| connection.execute(&statement, [token.as_bytes()]));
        assert_eq!(damaged.await.ok(), Some(1));
        for (verb, verdict) in verdicts(&store, &owner).await {
            assert_eq!(
                verdict,
                Some(StoreErrorKind::Unreadable),
                "{verb}, {damage}"
            );
        }
        // It hides no other record.
        let listed = store.list(&ListRequest::new(10)).await.expect("a list");
        let kinds = listed
            .into_iter()
            .map(|listed| (listed.id, listed.record.err().map(|error| error.kind())));
        let unreadable = (owner.id, Some(StoreErrorKind::Unreadable));
        let expected = [(others[0].id, None), unreadable, (others[1].id, None)];
        assert_eq!(kinds.collect::<Vec<_>>(), expected, "{damage}");
        // It cannot be known not to match the filter.
        let narrow = ListRequest::new(10).labelled("customer 7");
        let listed = store.list(&narrow).await.expect("a list");
        let kinds = listed
            .into_iter()
            .map(|listed| (listed.id, listed.record.err().map(|error| error.kind())));
        assert_eq!(kinds.collect::<Vec<_>>(), [unreadable], "{damage}");
    }
}

/// A row with a malformed id is skipped, even if it is the first.
// proves: newer-record-fails-alone
#[tokio::test]
async fn a_row_under_no_id_hides_no_record_from_a_short_list() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let (torn, whole) = (hold(0), hold(1));
    for hold in [&torn, &whole] {
        claim(&store, hold, &asked()).await.expect("a claim");
    }
    let other = Connection::open(folder.file()).expect("a connection");
    let unchecked = other.execute_batch("pragma ignore_check_constraints = on");
    unchecked.expect("no checks");
    let tear = "update idempotency_records set id = x'00' where token = ?1";
    assert_eq!(other.execute(tear, [torn.token.as_bytes()]), Ok(1));
    let listed = store.list(&ListRequest::new(1)).await.expect("a list");
    let ids: Vec<_> = listed.iter().map(|listed| listed.id).collect();
    assert_eq!(ids, [whole.id]);
}

// proves: sweep-removes-only-expired
#[tokio::test]
async fn a_sweep_removes_every_expired_row_and_says_how_many() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let store = SqliteStore::open(folder.file())
        .expect("a store")
        .with_clock(clock.clone());
    let rows = || {
        let count = "select count(*) from idempotency_records";
        store
            .database()
            .read(move |connection| connection.query_row(count, (), |row| row.get::<_, i64>(0)))
    };
    for number in 0..=255 {
        let owner = hold(number);
        claim(&store, &owner, &asked()).await.expect("a claim");
        if number % 2 == 0 {
            let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
            assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
        }
    }
    assert_eq!(store.purge_expired(1000).await.ok(), Some(0));
    clock.advance(TTL);
    assert_eq!(store.purge_expired(100).await.ok(), Some(100));
    assert_eq!(store.purge_expired(1000).await.ok(), Some(28));
    assert_eq!(rows().await.ok(), Some(128));
    clock.advance(LEASE);
    // More than one sweep removes.
    let late = hold(0);
    claim(&store, &late, &asked()).await.expect("a claim");
    assert_eq!(store.purge_expired(1000).await.ok(), Some(128));
    assert_eq!(rows().await.ok(), Some(1));
    let left = store.inspect(&late.id).await.expect("an inspection");
    assert_eq!(left.map(|record| record.token), Some(late.token));
}

// proves: late-claim-holds-key
#[tokio::test]
async fn what_a_release_leaves_spends_the_token_over_a_restart_and_is_swept() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let open = || {
        SqliteStore::open(folder.file())
            .expect("a store")
            .with_clock(clock.clone())
    };
    let owner = hold(1);
    {
        let store = open();
        claim(&store, &owner, &asked()).await.expect("a claim");
        assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
    }
    let store = open();
    clock.advance(LEASE - Duration::from_millis(1));
    let late = claim(&store, &owner, &asked()).await;
    let late = late.expect_err("its token is spent");
    assert_eq!(late.kind(), StoreErrorKind::Withdrawn);
    assert_eq!(store.purge_expired(10).await.ok(), Some(0));
    clock.advance(Duration::from_millis(1));
    assert_eq!(store.purge_expired(10).await.ok(), Some(1));
}

#[tokio::test]
async fn a_withdrawal_wakes_those_who_wait_for_what_it_ends() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let owner = hold(1);
    claim(&store, &owner, &asked()).await.expect("a claim");
    let mut subscription = store.subscribe(&owner.id);
    let other = store.withdraw(&hold(1), &asked()).await;
    other.expect("a withdrawal");
    assert!(!is_ready(subscription.changed()).await, "the hold lives");
    let own = store.withdraw(&owner, &asked()).await;
    own.expect("a withdrawal");
    assert!(is_ready(subscription.changed()).await);
}

#[tokio::test]
async fn a_replay_does_not_wait_for_a_write() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let (running, ended) = (hold(1), hold(2));
    claim(&store, &running, &asked()).await.expect("a claim");
    claim(&store, &ended, &asked()).await.expect("a claim");
    let outcome = Bytes::from_static(b"booked");
    store.complete(&ended, outcome).await.expect("a completion");
    let go_on = hold_up(store.database()).await;
    let duplicate = claim(&store, &hold(1), &asked()).await;
    assert!(
        matches!(duplicate, Ok(Claim::InFlight { .. })),
        "{duplicate:?}"
    );
    let replay = claim(&store, &hold(2), &asked()).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
    drop(go_on);
}

// proves: check-then-claim
#[tokio::test]
async fn a_claim_reads_again_when_its_turn_to_write_comes() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let go_on = hold_up(store.database()).await;
    let holds = [hold(1), hold(1)];
    let asked = asked();
    let mut first = pin!(claim(&store, &holds[0], &asked));
    let mut second = pin!(claim(&store, &holds[1], &asked));
    begin(first.as_mut()).await;
    begin(second.as_mut()).await;
    // By now at least one of them has read and found nothing, and waits for its turn; usually both have.
    let (left, right) = tokio::join!(store.inspect(&holds[0].id), store.inspect(&holds[0].id));
    assert_eq!((left.ok(), right.ok()), (Some(None), Some(None)));
    begin(first.as_mut()).await;
    begin(second.as_mut()).await;
    drop(go_on);
    let claims = [
        first.await.expect("a claim"),
        second.await.expect("a claim"),
    ];
    let fingerprint = asked;
    assert!(claims.contains(&won(1)), "{claims:?}");
    assert!(
        claims.contains(&Claim::in_flight(fingerprint)),
        "{claims:?}"
    );
}

#[tokio::test]
async fn an_end_whose_caller_has_left_still_wakes() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let owner = hold(1);
    claim(&store, &owner, &asked()).await.expect("a claim");
    let mut subscription = store.subscribe(&owner.id);
    let go_on = hold_up(store.database()).await;
    begin(pin!(store.complete(&owner, Bytes::new())).as_mut()).await;
    assert!(
        !is_ready(subscription.changed()).await,
        "nothing is durable yet"
    );
    drop(go_on);
    // Later calls complete later.
    store.database().write(|_| Ok(())).await.expect("a write");
    assert!(is_ready(subscription.changed()).await);
    let phase = store.inspect(&owner.id).await.expect("an inspection");
    let phase = phase.map(|record| record.phase);
    assert!(matches!(phase, Some(Phase::Completed { .. })), "{phase:?}");
}

// proves: store-clock-decides
#[tokio::test]
async fn the_promised_expiry_is_the_reported_one_to_the_nanosecond() {
    let folder = Folder::new();
    // On the system's clock, whose times are not whole milliseconds like those in the file.
    let store = SqliteStore::open(folder.file()).expect("a store");
    for key in 0..20 {
        let owner = hold(key).with_ttl(Duration::from_nanos(3_600_000_000_001));
        claim(&store, &owner, &asked()).await.expect("a claim");
        let completed = store.complete(&owner, Bytes::new()).await;
        let Ok(IfOwner::Done(promised)) = completed else {
            panic!("the owner completes, and not {completed:?}");
        };
        let replay = claim(&store, &hold(key), &asked()).await;
        let Ok(Claim::Completed { expires_at, .. }) = replay else {
            panic!("the record is completed, and not {replay:?}");
        };
        assert_eq!(expires_at, promised);
        let again = store.complete(&owner, Bytes::new()).await;
        assert_eq!(again.ok(), Some(IfOwner::Done(promised)));
    }
}
