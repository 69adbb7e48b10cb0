//! What a released key leaves in the server, and for how long.

use std::time::Duration;

use bytes::Bytes;
use idempotency::{
    RedisStore, Store,
    store::{Hold, IfOwner, Resolution, StoreErrorKind},
};

use super::{
    hold_on,
    records::{get, taken},
    request,
};
use crate::{claim, won};

// proves: sweep-removes-only-expired, dropped-future-loses-nothing
#[tokio::test]
async fn the_server_removes_what_a_released_key_leaves_behind() {
    let Some((store, hold, key, mut connection)) = taken().await else {
        return;
    };
    let mut remaining = || {
        let at: i64 = redis::cmd("PEXPIRETIME")
            .arg(&key)
            .query(&mut connection)
            .expect("a time");
        let (seconds, _): (i64, i64) = redis::cmd("TIME").query(&mut connection).expect("a time");
        assert_ne!(at, -1, "it is never removed");
        // Where its time to live is zero, it may have been removed already.
        Duration::from_millis(u64::try_from(at - 1000 * seconds).unwrap_or(0))
    };
    let is_about = |time: Duration, expected: Duration| {
        // The minute allows for the time that passes meanwhile.
        let least = expected.saturating_sub(Duration::from_secs(60));
        let most = expected + Duration::from_secs(2);
        assert!(least <= time && time <= most, "{time:?}");
    };
    let longer = hold.clone().with_lease(50 * hold.lease);
    assert_eq!(store.release(&longer).await.ok(), Some(IfOwner::Done(())));
    is_about(remaining(), longer.lease);
    withdraw(&store, &hold_on(hold.id)).await;
    is_about(remaining(), hold.lease + hold.ttl);
    // A mark with a shorter time does not shorten earlier ones.
    let short = hold_on(hold.id).with_ttl(Duration::ZERO);
    withdraw(&store, &short).await;
    is_about(remaining(), hold.lease + hold.ttl);
    let at_once = hold_on(hold.id).with_lease(Duration::ZERO);
    assert_eq!(claim(&store, &at_once, &request()).await.ok(), Some(won(1)));
    assert_eq!(store.release(&at_once).await.ok(), Some(IfOwner::Done(())));
    // The earlier ones still need their time.
    is_about(remaining(), hold.lease + hold.ttl);
    let next = hold_on(hold.id);
    assert_eq!(claim(&store, &next, &request()).await.ok(), Some(won(1)));
    let resolved = store
        .resolve(&next.id, &next.token, Resolution::Release)
        .await;
    assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
    is_about(remaining(), Duration::from_secs(24 * 3600));
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_key_grows_by_eight_spent_tokens_at_most_until_its_run_is_completed() {
    let Some((store, hold, key, mut connection)) = taken().await else {
        return;
    };
    let mut length = || get(&mut connection, &key).len();
    let claimed = length();
    // A free key has neither labels nor the time of a first claim.
    let empty = claimed - 12;
    assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(length(), empty);
    let mut spent = vec![hold.clone()];
    for older in 1..10 {
        let late = hold_on(hold.id);
        withdraw(&store, &late).await;
        assert_eq!(length(), empty + 16 * older.min(8));
        spent.push(late);
    }
    for late in &spent[2..] {
        let claim = claim(&store, late, &request()).await;
        let kind = claim.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
        assert_eq!(store.release(late).await.ok(), Some(IfOwner::NotOwner));
    }
    let next = hold_on(hold.id);
    assert_eq!(claim(&store, &next, &request()).await.ok(), Some(won(1)));
    assert_eq!(length(), claimed + 16 * 8);
    let completed = store.complete(&next, Bytes::new()).await;
    completed.expect("a completion");
    assert_eq!(length(), claimed);
}

async fn withdraw(store: &RedisStore, hold: &Hold) {
    let withdrawn = store.withdraw(hold, &request()).await;
    withdrawn.expect("a withdrawal");
}
