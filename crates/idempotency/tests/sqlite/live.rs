//! How many records the file has.

use super::*;

/// More than are counted in one piece of work, and half of them expire at one moment.
const MANY: &str = "
    with recursive numbers (number) as (
        select 1 union all select number + 1 from numbers where number < 10000
    )
    insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, outcome)
    select randomblob(32), randomblob(33), randomblob(16), 1, 4000000000000 + max(number - 5000, 0), 2, x''
    from numbers
";

async fn live(store: &SqliteStore) -> u64 {
    let counted = store.live_records().await.expect("a count");
    counted.expect("a store that can count")
}

// proves: outcomes-are-counted
#[tokio::test]
async fn records_are_counted_however_many_there_are_until_they_expire() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let store = store.with_clock(clock.clone());
    assert_eq!(live(&store).await, 0);
    let holds = [hold(1), hold(2), hold(3)];
    for hold in &holds {
        assert_eq!(claim(&store, hold, &asked()).await.ok(), Some(won(1)));
    }
    let done = store.complete(&holds[0], Bytes::from_static(b"booked"));
    assert!(matches!(done.await, Ok(IfOwner::Done(_))));
    assert_eq!(live(&store).await, 3);

    let inserted = store
        .database()
        .write(|connection| connection.execute(MANY, ()));
    assert_eq!(inserted.await.ok(), Some(10_000));
    assert_eq!(live(&store).await, 10_003);

    clock.advance(2 * (LEASE + TTL));
    assert_eq!(live(&store).await, 10_000, "three have expired");
}
