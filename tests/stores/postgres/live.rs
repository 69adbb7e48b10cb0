//! How many records the table has.

use bytes::Bytes;
use idempotency::{PostgresStore, Store, store::IfOwner};
use tests::servers::postgres::advance;

use super::{database, new_hold, request, sql, store};
use crate::{claim, won};

/// More than are counted one by one.
const MANY: &str = "
    insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, outcome)
    select sha256(number::text::bytea), sha256('') || '\\x00', sha256('')::bytea, 1, clock_timestamp() + interval '10 days', 2, ''
    from generate_series(1, 20000) as number
";

async fn live(store: &PostgresStore) -> u64 {
    let counted = store.live_records().await.expect("a count");
    counted.expect("a store that can count")
}

// proves: outcomes-are-counted
#[tokio::test]
async fn records_are_counted_until_they_expire_and_many_are_estimated() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    assert_eq!(live(&store).await, 0);
    let holds = [new_hold(), new_hold(), new_hold()];
    for hold in &holds {
        assert_eq!(claim(&store, hold, &request()).await.ok(), Some(won(1)));
    }
    let done = store.complete(&holds[0], Bytes::from_static(b"booked"));
    assert!(matches!(done.await, Ok(IfOwner::Done(_))));
    // A free key is no record.
    let freed = store.release(&holds[1]).await;
    assert_eq!(freed.ok(), Some(IfOwner::Done(())));
    assert_eq!(live(&store).await, 2);
    advance(&url, 2 * (holds[0].lease + holds[0].ttl));
    assert_eq!(live(&store).await, 0);

    sql(&url, MANY).await;
    assert!(live(&store).await >= 10_000, "without statistics");
    sql(&url, "analyze idempotency_records").await;
    let estimated = live(&store).await;
    assert!((19_000..21_000).contains(&estimated), "{estimated}");
}
