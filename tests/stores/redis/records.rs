//! What the store writes to the server, under which names and for how long, and how it treats values that others put there.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use idempotency::{
    RedisStore, Store,
    store::{Hold, IfOwner, ListRequest, Phase, Resolution, StoreErrorKind},
};
use redis::Connection;
use tests::{
    log::Log,
    servers::redis::{RedisServer, keys},
};

use super::{hold_on, new_hold, request, unused_prefix};
use crate::{claim, won};

/// A store, a hold in it, the name of that hold's key, and a connection to read it.
pub(super) async fn taken() -> Option<(RedisStore, Hold, String, Connection)> {
    let server = RedisServer::shared()?;
    let prefix = unused_prefix();
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    let store = store.with_prefix(&prefix);
    let hold = new_hold();
    let claim = claim(&store, &hold, &request()).await.expect("a claim");
    assert_eq!(claim, won(1));
    let mut connection = server.connection();
    let mut keys = keys(&mut connection, &prefix);
    assert_eq!(keys.len(), 1, "one record is one key");
    Some((store, hold, keys.remove(0), connection))
}

pub(super) fn get(connection: &mut Connection, key: &str) -> Vec<u8> {
    let bytes = redis::cmd("GET").arg(key).query(connection);
    bytes.expect("the record")
}

pub(super) fn set(connection: &mut Connection, key: &str, bytes: &[u8]) {
    let set: Result<(), _> = redis::cmd("SET").arg(key).arg(bytes).query(connection);
    set.expect("the record is written");
}

// proves: other-version-is-error, newer-record-fails-alone, damaged-record-frees-key
// proves: newer-value-fails-all
#[tokio::test]
async fn a_record_that_cannot_be_read_stops_every_step_and_stays_as_it_is() {
    let Some((store, hold, key, mut connection)) = taken().await else {
        return;
    };
    let whole = get(&mut connection, &key);
    let changed = |place: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[place] = byte;
        bytes
    };
    let other_version = [changed(0, 3).as_slice(), b"more"].concat();
    for unreadable in [
        Vec::new(),
        b"booked".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        changed(0, 0),
        other_version,
        changed(1, 0),
        changed(1, 4),
        // It announces a spent token, and half of one follows.
        [&whole[..1], b"\x11", &whole[2..], b"8 bytes!"].concat(),
        // Times that no clock shows.
        changed(6, 0xff),
        changed(14, 0xff),
        changed(71, 0xff),
        // It announces a route and a label.
        changed(80, 0x02),
        changed(82, 0x02),
    ] {
        set(&mut connection, &key, &unreadable);
        assert_unreadable(&store, &hold).await;
        assert_eq!(get(&mut connection, &key), unreadable);
    }
    // Another application's value of the same name.
    let pushed: Result<usize, _> = redis::pipe()
        .del(&key)
        .ignore()
        .rpush(&key, "one")
        .query::<(usize,)>(&mut connection)
        .map(|(length,)| length);
    assert_eq!(pushed.expect("a list"), 1);
    assert_unreadable(&store, &hold).await;

    // And once it is whole again, it is read again.
    set(&mut connection, &key, &whole);
    assert!(matches!(store.inspect(&hold.id).await, Ok(Some(_))));
}

async fn assert_unreadable(store: &RedisStore, hold: &Hold) {
    let outcome = Bytes::new();
    let complete = Resolution::Complete {
        outcome: outcome.clone(),
        ttl: hold.ttl,
    };
    let (id, token) = (&hold.id, &hold.token);
    let errors = [
        claim(store, hold, &request()).await.err(),
        claim(store, &hold_on(hold.id), &request()).await.err(),
        store.withdraw(hold, &request()).await.err(),
        store.renew(hold).await.err(),
        store.checkpoint(hold, Bytes::new()).await.err(),
        store.suspend(hold, Bytes::new()).await.err(),
        store.complete(hold, Bytes::new()).await.err(),
        store.release(hold).await.err(),
        store.inspect(&hold.id).await.err(),
        store
            .list(&ListRequest::new(1))
            .await
            .expect("a list")
            .pop()
            .and_then(|listed| listed.record.err()),
        store.resolve(id, token, complete).await.err(),
        store.resolve(id, token, Resolution::Release).await.err(),
        store
            .resolve(id, token, Resolution::Replace { outcome })
            .await
            .err(),
        store.resolve(id, token, Resolution::Forget).await.err(),
    ];
    for error in errors {
        let kind = error.as_ref().map(idempotency::store::StoreError::kind);
        assert_eq!(kind, Some(StoreErrorKind::Unreadable), "{error:?}");
    }
}

// proves: replayed-until-ttl, store-clock-decides, sweep-removes-only-expired
// proves: sweep-deletes-wrong-key
#[tokio::test]
async fn the_server_removes_a_record_when_its_time_is_over_and_not_before() {
    let Some((store, hold, key, mut connection)) = taken().await else {
        return;
    };
    let mut removed_at = || -> u64 {
        let at = redis::cmd("PEXPIRETIME").arg(&key).query(&mut connection);
        at.expect("a time")
    };
    let check = async |removed_at: u64| {
        let record = store.inspect(&hold.id).await.expect("an inspection");
        let expires_at = record.expect("the record").expires_at;
        let expires_at = expires_at.duration_since(UNIX_EPOCH).expect("a time");
        let milliseconds = expires_at.as_micros().div_ceil(1000);
        assert_eq!(u128::from(removed_at), milliseconds);
    };
    check(removed_at()).await;
    let longer = hold.clone().with_lease(2 * hold.lease);
    assert_eq!(store.renew(&longer).await.ok(), Some(IfOwner::Done(())));
    check(removed_at()).await;
    let shorter = hold.clone().with_ttl(hold.ttl / 2);
    let done = store.complete(&shorter, Bytes::new()).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    check(removed_at()).await;
    assert_eq!(store.purge_expired(100).await.ok(), Some(0));
}

// proves: store-clock-decides, bad-ttl-does-not-compile
#[tokio::test]
async fn a_ttl_without_an_end_ends_in_the_far_future() {
    let Some((store, hold, ..)) = taken().await else {
        return;
    };
    let endless = hold.clone().with_ttl(Duration::MAX);
    let Ok(IfOwner::Done(expires_at)) = store.complete(&endless, Bytes::new()).await else {
        panic!("the owner completes");
    };
    let a_century = Duration::from_secs(100 * 365 * 24 * 3600);
    assert!(expires_at > UNIX_EPOCH + a_century, "{expires_at:?}");
    assert!(matches!(store.inspect(&hold.id).await, Ok(Some(_))));
}

// proves: store-clock-decides
#[tokio::test]
async fn times_are_the_servers() {
    let Some((store, hold, _, mut connection)) = taken().await else {
        return;
    };
    let mut time = || {
        let (seconds, microseconds): (u64, u32) =
            redis::cmd("TIME").query(&mut connection).expect("the time");
        UNIX_EPOCH + Duration::new(seconds, 1000 * microseconds)
    };
    let before = time();
    assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
    let after = time();
    let record = store.inspect(&hold.id).await.expect("an inspection");
    let Some(Phase::InFlight { lease_until, .. }) = record.map(|record| record.phase) else {
        panic!("the hold is in flight");
    };
    let renewed_at = lease_until - hold.lease;
    assert!(before <= renewed_at && renewed_at <= after);
}

#[tokio::test]
async fn stores_with_other_prefixes_and_other_keys_are_left_alone() {
    let Some(server) = RedisServer::shared() else {
        return;
    };
    let common = unused_prefix();
    let open = async |prefix: &str| {
        let store = RedisStore::connect(&server.url()).await.expect("a store");
        store.with_prefix(&format!("{common}{prefix}"))
    };
    // One begins with the other, and one is a pattern that fits the other.
    let stores = [open("").await, open("ab:").await, open("[a-z]*:").await];
    let mut connection = server.connection();
    set(
        &mut connection,
        &format!("{common}settings"),
        b"of another owner",
    );
    let hold = new_hold();
    for (number, store) in stores.iter().enumerate() {
        let hold = hold_on(hold.id)
            .with_ttl(hold.ttl * u32::try_from(number + 1).expect("a small number"));
        assert_eq!(claim(store, &hold, &request()).await.ok(), Some(won(1)));
        let listed = store.list(&ListRequest::new(10)).await.expect("a list");
        assert_eq!(listed.len(), 1);
        let token = listed[0].record.as_ref().map(|record| record.token);
        assert_eq!(token.ok(), Some(hold.token));
    }
}

// proves: full-store-forgets-none, memory-limit-drops-records
#[tokio::test]
async fn an_eviction_policy_that_forgets_keys_is_warned_about() {
    for (policy, warned) in [
        ("noeviction", false),
        ("allkeys-lru", true),
        ("volatile-ttl", true),
    ] {
        let Some(server) = RedisServer::start(&["--maxmemory-policy", policy]) else {
            return;
        };
        let (log, logging) = Log::start();
        RedisStore::connect(&server.url()).await.expect("a store");
        drop(logging);
        let log = log.text();
        assert_eq!(
            log.contains("set maxmemory-policy to noeviction"),
            warned,
            "{policy}: {log}"
        );
        assert_eq!(log.contains(policy), warned, "{policy}: {log}");
    }
}

#[tokio::test]
async fn a_user_who_may_do_what_the_documentation_says_can_do_everything() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let rights =
        "+eval +evalsha +get +set +pexpireat +time +publish +subscribe +unsubscribe +info +scan";
    let set: String = redis::cmd("ACL")
        .arg(
            [
                "SETUSER",
                "keys",
                "on",
                ">secret",
                "~bookings:*",
                "&bookings:*",
            ]
            .as_slice(),
        )
        .arg(rights.split(' ').collect::<Vec<_>>())
        .query(&mut server.connection())
        .expect("a user");
    assert_eq!(set, "OK");
    let url = server.url().replace("redis://", "redis://keys:secret@");
    let store = RedisStore::connect(&url).await.expect("a store");
    let store = store.with_prefix("bookings:");
    let (hold, other) = (new_hold(), new_hold());
    for hold in [&hold, &other] {
        let claim = claim(&store, hold, &request()).await;
        assert_eq!(claim.expect("a claim"), won(1));
    }
    assert_eq!(
        store.renew(&hold).await.expect("a renewal"),
        IfOwner::Done(())
    );
    assert_eq!(
        store.release(&other).await.expect("a release"),
        IfOwner::Done(())
    );
    let unclaimed = new_hold();
    let withdrawn = store.withdraw(&unclaimed, &request()).await;
    withdrawn.expect("a withdrawal");
    let done = store.complete(&hold, Bytes::new()).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    assert_eq!(
        store
            .list(&ListRequest::new(10))
            .await
            .expect("a list")
            .len(),
        1
    );
    // Commands that it may not execute leave traces here.
    let mut log = redis::cmd("ACL");
    let log: redis::Value = log
        .arg("LOG")
        .query(&mut server.connection())
        .expect("the refusals");
    let redis::Value::Array(log) = log else {
        panic!("a list, and not {log:?}");
    };
    let mut log: Vec<String> = log.iter().map(|entry| format!("{entry:?}")).collect();
    log.retain(|entry| !entry.contains("idempotency: rights"));
    assert!(
        log.len() <= 1,
        "the greeting of the client may be refused: {log:?}"
    );
}
