//! What the server has no room for.

use std::time::Duration;

use bytes::Bytes;
use idempotency::{
    Store,
    store::{IfOwner, Resolution, StoreErrorKind},
};
use tests::servers::redis::{RedisServer, keys};

use super::{assert_kind, complete, connect, hold_on, is_replayed, keep, new_hold, request, taken};
use crate::claim;

// proves: full-store-forgets-none, memory-limit-drops-records
#[tokio::test]
async fn a_full_server_takes_no_new_keys_and_keeps_its_word_for_those_it_has() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let (running, ended, given_back) = (
        taken(&store).await,
        taken(&store).await,
        taken(&store).await,
    );
    complete(&store, &ended).await;
    let (left, left_behind) = (taken(&store).await, taken(&store).await);
    keep(&store, &left_behind).await;
    let suspended = taken(&store).await;
    let limit = |bytes: &str| {
        let set: String = redis::cmd("CONFIG")
            .arg(["SET", "maxmemory", bytes].as_slice())
            .query(&mut server.connection())
            .expect("the limit");
        assert_eq!(set, "OK");
    };
    limit("1");
    assert_kind(
        claim(&store, &new_hold(), &request()).await,
        StoreErrorKind::Full,
    );
    assert!(is_replayed(&store, &ended).await);
    assert_eq!(store.renew(&running).await.ok(), Some(IfOwner::Done(())));
    keep(&store, &running).await;
    complete(&store, &running).await;
    assert!(is_replayed(&store, &running).await);
    assert_eq!(
        store.release(&given_back).await.ok(),
        Some(IfOwner::Done(()))
    );
    let progress = Bytes::from_static(b"charged");
    let done = store.suspend(&suspended, progress).await;
    assert_eq!(done.ok(), Some(IfOwner::Done(())));
    // With and without progress, and once the key is free again.
    for hold in [&left, &left_behind, &hold_on(left.id)] {
        let withdrawn = store.withdraw(hold, &request()).await;
        withdrawn.expect("a withdrawal");
    }
    for freed in [&given_back, &left] {
        let next = claim(&store, &hold_on(freed.id), &request()).await;
        assert_kind(next, StoreErrorKind::Full);
    }
    limit("0");
    taken(&store).await;
}

/// An expiry time that is past when the server executes it would remove the record, and the step would write one without expiry.
#[tokio::test]
async fn what_an_operator_resolves_without_a_ttl_expires() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    for _ in 0..500 {
        let hold = taken(&store).await;
        let resolution = Resolution::Complete {
            outcome: Bytes::new(),
            ttl: Duration::ZERO,
        };
        let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
        assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
    }
    let mut connection = server.connection();
    for key in keys(&mut connection, "") {
        let left: i64 = redis::cmd("PTTL")
            .arg(key)
            .query(&mut connection)
            .expect("a time");
        assert_ne!(left, -1, "it would stay for ever");
    }
}
