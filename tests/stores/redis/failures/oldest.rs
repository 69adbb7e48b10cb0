//! The oldest supported version, which wraps the errors of commands in scripts into its own messages.

use idempotency::{
    RedisStore, Store,
    store::{RedisStoreError, StoreErrorKind},
};
use tests::servers::redis::RedisServer;

use super::{assert_kind, complete, connect, is_replayed, keep, new_hold, request, taken};
use crate::{claim, proxy::Proxy};

// proves: full-store-forgets-none, read-only-store-refused
#[tokio::test]
async fn redis_6_2_is_left_when_it_becomes_a_replica_and_is_known_to_be_full() {
    let (Some(old), Some(new)) = (RedisServer::start_oldest(), RedisServer::start_oldest()) else {
        return;
    };
    let proxy = Proxy::to(old.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url).await.expect("a store");
    let hold = taken(&store).await;
    keep(&store, &hold).await;
    complete(&store, &hold).await;
    assert!(is_replayed(&store, &hold).await);

    set(&old, &["CONFIG", "SET", "maxmemory", "1"]);
    let full = claim(&store, &new_hold(), &request()).await;
    assert_kind(full, StoreErrorKind::Full);
    set(&old, &["CONFIG", "SET", "maxmemory", "0"]);

    let port = new.address().port().to_string();
    set(&old, &["REPLICAOF", "127.0.0.1", &port]);
    let refused = claim(&store, &new_hold(), &request()).await;
    assert_kind(refused, StoreErrorKind::Unavailable);
    let replica = RedisStore::connect(&old.url()).await;
    assert!(
        matches!(replica, Err(RedisStoreError::Replica)),
        "{replica:?}"
    );
    proxy.lead_to(new.address());
    // The connection to the old server is still open, and is not used.
    let hold = taken(&store).await;
    let elsewhere = connect(&new).await;
    assert!(matches!(elsewhere.inspect(&hold.id).await, Ok(Some(_))));
}

#[tokio::test]
async fn redis_6_2_refuses_a_user_who_lacks_a_right_at_the_start() {
    let Some(server) = RedisServer::start_oldest() else {
        return;
    };
    crate::redis::opening::each_right_is_asked_for(&server).await;
}

fn set(server: &RedisServer, command: &[&str]) {
    let (name, arguments) = command.split_first().expect("a command");
    let done: String = redis::cmd(name)
        .arg(arguments)
        .query(&mut server.connection())
        .expect("the change");
    assert_eq!(done, "OK");
}
