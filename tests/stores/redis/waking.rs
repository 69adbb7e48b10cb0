//! Waiters learn of an end in another process, which here is another store on the same server.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use idempotency::{
    RedisStore, Store,
    store::{Hold, IfOwner, Phase, RecordId, Subscription},
};
use tests::servers::redis::RedisServer;

use super::{new_hold, request, unused_prefix};
use crate::{claim, paused_time::PausedTime, proxy::Proxy, within_a_minute, won};

/// Two stores with the same records, as in two processes.
async fn two_stores(server: &RedisServer) -> (RedisStore, RedisStore) {
    let prefix = unused_prefix();
    let one = RedisStore::connect(&server.url()).await.expect("a store");
    let other = RedisStore::connect(&server.url()).await.expect("a store");
    (one.with_prefix(&prefix), other.with_prefix(&prefix))
}

async fn taken(store: &RedisStore) -> Hold {
    let hold = new_hold();
    let claim = claim(store, &hold, &request()).await.expect("a claim");
    assert_eq!(claim, won(1));
    hold
}

async fn is_in_flight(store: &impl Store, id: &RecordId) -> bool {
    let found = store.inspect(id).await.expect("an inspection");
    found.is_some_and(|record| matches!(record.phase, Phase::InFlight { .. }))
}

/// Returns once the hold has ended.
async fn ended(store: &RedisStore, id: &RecordId, subscription: &mut Subscription) {
    while is_in_flight(store, id).await {
        subscription.changed().await;
    }
}

// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test]
async fn an_end_that_was_notified_before_any_waiter_listened_is_found() {
    let Some(server) = RedisServer::shared() else {
        return;
    };
    let (here, elsewhere) = two_stores(server).await;
    let hold = taken(&elsewhere).await;
    assert!(is_in_flight(&here, &hold.id).await);
    let released = elsewhere.release(&hold).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    let paused = PausedTime::pause();
    here.subscribe(&hold.id).changed().await;
    paused.resume();
}

// proves: duplicate-may-wait, processes-share-store, lost-wakeup-hangs-waiter
#[tokio::test]
async fn many_who_wait_for_many_keys_share_a_connection_and_all_hear() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (here, elsewhere) = two_stores(&server).await;
    let mut holds = Vec::new();
    for _ in 0..20 {
        holds.push(taken(&elsewhere).await);
    }
    let paused = PausedTime::pause();
    let mut waiting = Vec::new();
    for id in holds.iter().chain(&holds).map(|hold| hold.id) {
        let here = here.clone();
        let mut subscription = here.subscribe(&id);
        waiting.push(tokio::spawn(async move {
            ended(&here, &id, &mut subscription).await;
        }));
    }
    for hold in &holds {
        let released = elsewhere.release(hold).await;
        assert_eq!(released.ok(), Some(IfOwner::Done(())));
    }
    for waiter in waiting {
        waiter.await.expect("a waiter");
    }
    paused.resume();
    assert_eq!(listeners(&server), 1);
}

// proves: lost-wakeup-hangs-waiter
#[tokio::test]
async fn a_broken_connection_is_made_anew_and_what_it_missed_is_found() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (here, elsewhere) = two_stores(&server).await;
    let hold = taken(&elsewhere).await;
    let other = taken(&elsewhere).await;
    let mut subscription = here.subscribe(&hold.id);
    let mut kept = here.subscribe(&other.id);
    is_listened_to(&server, &here, &hold.id).await;
    is_listened_to(&server, &here, &other.id).await;
    let killed: usize = redis::cmd("CLIENT")
        .arg(["KILL", "TYPE", "pubsub"].as_slice())
        .query(&mut server.connection())
        .expect("the kill");
    assert_eq!(killed, 1);
    // No connection listens now.
    let released = elsewhere.release(&hold).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    ended(&here, &hold.id, &mut subscription).await;
    // And the other record's channel is subscribed to again.
    is_listened_to(&server, &here, &other.id).await;
    let paused = PausedTime::pause();
    let released = elsewhere.release(&other).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    kept.changed().await;
    paused.resume();
}

// proves: deaf-store-left-quickly, lost-wakeup-hangs-waiter, dead-connection-outlives-lease
#[tokio::test]
async fn a_dark_connection_is_left_and_what_it_missed_is_found() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let here = RedisStore::connect(&url).await.expect("a store");
    let elsewhere = RedisStore::connect(&server.url()).await.expect("a store");
    let (hold, other) = (taken(&elsewhere).await, taken(&elsewhere).await);
    let mut subscription = here.subscribe(&hold.id);
    let mut kept = here.subscribe(&other.id);
    is_listened_to(&server, &here, &hold.id).await;
    is_listened_to(&server, &here, &other.id).await;
    proxy.silence();
    // No connection listens now, although the server still counts the dark one.
    let dark = listener_ids(&server);
    let released = elsewhere.release(&hold).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    let is_left = async {
        while listener_ids(&server).is_subset(&dark) {
            tokio::task::yield_now().await;
        }
    };
    within_a_minute("another connection", is_left).await;
    while here.inspect(&hold.id).await.is_err() {}
    ended(&here, &hold.id, &mut subscription).await;
    is_listened_to(&server, &here, &other.id).await;
    let paused = PausedTime::pause();
    let released = elsewhere.release(&other).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    kept.changed().await;
    paused.resume();
}

// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test]
async fn waiters_poll_where_no_user_may_send_notifications() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let rules = [
        "SETUSER",
        "mute",
        "on",
        ">secret",
        "~*",
        "+@all",
        "resetchannels",
    ];
    let set: String = redis::cmd("ACL")
        .arg(rules.as_slice())
        .query(&mut server.connection())
        .expect("a user");
    assert_eq!(set, "OK");
    let url = server.url().replace("redis://", "redis://mute:secret@");
    let here = RedisStore::connect(&url).await.expect("a store");
    let elsewhere = RedisStore::connect(&url).await.expect("a store");
    let hold = taken(&elsewhere).await;
    let mut subscription = here.subscribe(&hold.id);
    assert!(is_in_flight(&here, &hold.id).await);
    let released = elsewhere.release(&hold).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())), "the step is taken");
    ended(&here, &hold.id, &mut subscription).await;
}

// proves: waiter-ends-hold
#[tokio::test]
async fn no_connection_listens_once_no_waiter_is_left() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (here, elsewhere) = two_stores(&server).await;
    assert_eq!(listeners(&server), 0);
    for _ in 0..2 {
        let hold = taken(&elsewhere).await;
        let subscription = here.subscribe(&hold.id);
        is_listened_to(&server, &here, &hold.id).await;
        drop(subscription);
        let patience = Instant::now() + Duration::from_secs(30);
        while listeners(&server) > 0 {
            assert!(Instant::now() < patience, "a connection still listens");
            tokio::task::yield_now().await;
        }
        assert!(
            is_in_flight(&here, &hold.id).await,
            "the owner is not affected"
        );
    }
}

/// How many connections listen to channels.
fn listeners(server: &RedisServer) -> usize {
    listener_ids(server).len()
}

/// Their ids, which the server never reuses.
fn listener_ids(server: &RedisServer) -> BTreeSet<String> {
    let clients: String = redis::cmd("CLIENT")
        .arg(["LIST", "TYPE", "pubsub"].as_slice())
        .query(&mut server.connection())
        .expect("the clients");
    let id = |client: &str| client.split(' ').next().unwrap_or_default().to_owned();
    clients.lines().map(id).collect()
}

/// Returns once this store listens to this record's channel, and has read the record after it began to.
pub(crate) async fn is_listened_to(server: &RedisServer, store: &impl Store, id: &RecordId) {
    let digits: Vec<String> = id
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let digits = digits.concat();
    let patience = Instant::now() + Duration::from_secs(30);
    while !channels(server)
        .iter()
        .any(|channel| channel.ends_with(&digits))
    {
        assert!(Instant::now() < patience, "no connection listens");
        tokio::task::yield_now().await;
    }
    // The store's own read is on the same connection, before the last of these.
    for _ in 0..3 {
        assert!(is_in_flight(store, id).await);
    }
}

/// The channels that have a listener.
fn channels(server: &RedisServer) -> Vec<String> {
    let channels = redis::cmd("PUBSUB")
        .arg("CHANNELS")
        .query(&mut server.connection());
    channels.expect("the channels")
}
