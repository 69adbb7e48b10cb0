//! The server stops, stalls, restarts, forgets, or is replaced: nothing runs twice, and the store recovers by itself.

use bytes::Bytes;
use idempotency::{
    RedisStore, Store,
    store::{Claim, IfOwner, ListRequest, RedisStoreError, Resolution, StoreErrorKind},
};
use tests::servers::redis::RedisServer;

use super::{assert_kind, complete, connect, hold_on, is_replayed, new_hold, request, taken};
use crate::{claim, proxy::Proxy, won};

// proves: dead-owner-taken-over, store-down-nothing-runs, failed-completion-keeps-key
// proves: failover-forgets-writes, store-outage-fails-open
#[tokio::test]
async fn a_stopped_server_is_unavailable_and_a_durable_one_comes_back_with_all_it_had() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(server) = RedisServer::start(&durable) else {
        return;
    };
    let store = connect(&server).await;
    let (running, ended) = (taken(&store).await, taken(&store).await);
    complete(&store, &ended).await;

    server.stop();
    let unavailable = StoreErrorKind::Unavailable;
    assert_kind(claim(&store, &new_hold(), &request()).await, unavailable);
    assert_kind(
        claim(&store, &hold_on(ended.id), &request()).await,
        unavailable,
    );
    assert_kind(store.renew(&running).await, unavailable);
    assert_kind(store.complete(&running, Bytes::new()).await, unavailable);
    assert_kind(store.release(&running).await, unavailable);
    assert_kind(store.inspect(&running.id).await, unavailable);
    assert_kind(store.list(&ListRequest::new(10)).await, unavailable);

    server.start_again();
    assert_eq!(
        claim(&store, &hold_on(running.id), &request()).await.ok(),
        Some(Claim::in_flight(request()))
    );
    complete(&store, &running).await;
    assert!(is_replayed(&store, &running).await);
    assert!(is_replayed(&store, &ended).await);
}

// proves: generation-counter-restarts, failover-forgets-writes
#[tokio::test]
async fn a_server_that_has_forgotten_a_hold_takes_nothing_from_its_owner() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let forgotten = taken(&store).await;
    server.stop();
    server.start_again();
    let successor = hold_on(forgotten.id);
    assert_eq!(
        claim(&store, &successor, &request()).await.ok(),
        Some(won(1))
    );
    assert_eq!(store.renew(&forgotten).await.ok(), Some(IfOwner::NotOwner));
    let done = store.complete(&forgotten, Bytes::new()).await;
    assert_eq!(done.ok(), Some(IfOwner::NotOwner));
    assert_eq!(
        store.release(&forgotten).await.ok(),
        Some(IfOwner::NotOwner)
    );
    complete(&store, &successor).await;
}

/// How a failover to a lagging replica affects a run, and how an operator's change does.
// proves: store-down-nothing-runs, generation-counter-restarts, failover-forgets-writes
#[tokio::test]
async fn an_owner_whose_record_is_gone_claims_it_again_unless_an_operator_has_released_it() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let owner = taken(&store).await;
    let flushed: String = redis::cmd("FLUSHALL")
        .query(&mut server.connection())
        .expect("the loss");
    assert_eq!(flushed, "OK");
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::NotOwner));
    let done = store.complete(&owner, Bytes::new()).await;
    assert_eq!(done.ok(), Some(IfOwner::NotOwner));
    assert_eq!(claim(&store, &owner, &request()).await.ok(), Some(won(1)));
    complete(&store, &owner).await;
    assert!(is_replayed(&store, &owner).await);

    let owner = taken(&store).await;
    let resolved = store.resolve(&owner.id, &owner.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    let done = store.complete(&owner, Bytes::new()).await;
    assert_eq!(done.ok(), Some(IfOwner::NotOwner));
    let again = claim(&store, &owner, &request()).await;
    assert_kind(again, StoreErrorKind::Withdrawn);
    assert_eq!(store.inspect(&owner.id).await.expect("an inspection"), None);
}

/// The server executes the claim before its withdrawal or after it, depending on which connection it serves first.
// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_claim_that_a_stalled_server_carries_out_later_is_withdrawn() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    taken(&store).await;
    server.pause();
    let hold = new_hold();
    let stalled = claim(&store, &hold, &request()).await;
    assert_kind(stalled, StoreErrorKind::Unavailable);
    server.resume();
    while store.withdraw(&hold, &request()).await.is_err() {}
    let again = claim(&store, &hold, &request()).await;
    assert_kind(again, StoreErrorKind::Withdrawn);
    let next = claim(&store, &hold_on(hold.id), &request()).await;
    assert_eq!(next.ok(), Some(won(1)));
}

// proves: store-down-nothing-runs, own-claim-unrecognised
#[tokio::test]
async fn a_claim_that_a_stalled_server_carries_out_later_is_recognised() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    taken(&store).await;
    server.pause();
    let hold = new_hold();
    assert_kind(
        claim(&store, &hold, &request()).await,
        StoreErrorKind::Unavailable,
    );
    assert_kind(store.inspect(&hold.id).await, StoreErrorKind::Unavailable);
    server.resume();
    let late = loop {
        if let Ok(Some(record)) = store.inspect(&hold.id).await {
            break record;
        }
    };
    assert_eq!(late.token, hold.token);
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
    assert_eq!(
        claim(&store, &hold_on(hold.id), &request()).await.ok(),
        Some(Claim::in_flight(request()))
    );
}

// proves: store-down-nothing-runs, read-only-store-refused
#[tokio::test]
async fn a_server_that_became_a_replica_is_left_for_the_one_that_took_over() {
    let Some(old) = RedisServer::start(&[]) else {
        return;
    };
    let Some(new) = RedisServer::start(&[]) else {
        return;
    };
    let proxy = Proxy::to(old.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url).await.expect("a store");
    taken(&store).await;
    let replica_of = |host: &str, port: &str| {
        let done: String = redis::cmd("REPLICAOF")
            .arg([host, port].as_slice())
            .query(&mut old.connection())
            .expect("the change");
        assert_eq!(done, "OK");
    };
    replica_of("127.0.0.1", &new.address().port().to_string());
    let refused = claim(&store, &new_hold(), &request()).await;
    assert_kind(refused, StoreErrorKind::Unavailable);
    proxy.lead_to(new.address());
    // The connection to the old server is still open, and is not used.
    let hold = taken(&store).await;
    let elsewhere = connect(&new).await;
    assert!(matches!(elsewhere.inspect(&hold.id).await, Ok(Some(_))));
}

#[tokio::test]
async fn scripts_that_the_server_has_forgotten_are_sent_again() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let flush = || {
        let flushed: String = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query(&mut server.connection())
            .expect("the flush");
        assert_eq!(flushed, "OK");
    };
    let hold = taken(&store).await;
    flush();
    let released = taken(&store).await;
    flush();
    assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
    flush();
    complete(&store, &hold).await;
    flush();
    assert!(is_replayed(&store, &hold).await);
    flush();
    assert!(matches!(store.inspect(&hold.id).await, Ok(Some(_))));
    flush();
    assert_eq!(store.release(&released).await.ok(), Some(IfOwner::Done(())));
}

#[tokio::test]
async fn an_error_of_connecting_shows_no_secrets() {
    let Some(server) = RedisServer::start(&["--requirepass", "right"]) else {
        return;
    };
    let wrong = server.url().replace("redis://", "redis://:wr0ng@");
    let refused = RedisStore::connect(&wrong)
        .await
        .expect_err("the password is wrong");
    assert!(
        matches!(refused, RedisStoreError::Connect(_)),
        "{refused:?}"
    );
    let right = server.url().replace("redis://", "redis://:right@");
    let store = RedisStore::connect(&right).await.expect("a store");
    server.stop();
    let stopped = RedisStore::connect(&wrong)
        .await
        .expect_err("the server has stopped");
    assert!(
        matches!(stopped, RedisStoreError::Connect(_)),
        "{stopped:?}"
    );
    let failed = claim(&store, &new_hold(), &request())
        .await
        .expect_err("the server has stopped");
    let mut said = format!("{refused:?} {stopped:?} {store:?} {failed:?}");
    for url in [
        "redis://:wr0ng@host:port",
        "http://:wr0ng@host",
        "wr0ng",
        "redis://:wr0ng@",
    ] {
        let unusable = RedisStore::connect(url).await.expect_err("no such URL");
        assert!(matches!(unusable, RedisStoreError::Url(_)), "{unusable:?}");
        said += &format!("{unusable:?}");
    }
    let nowhere = RedisStore::cluster([""; 0]).await.expect_err("no URL");
    assert!(
        matches!(nowhere, RedisStoreError::Connect(_)),
        "{nowhere:?}"
    );
    assert!(!said.contains("wr0ng") && !said.contains("right"), "{said}");
}

// proves: deaf-store-left-quickly, dropped-future-loses-nothing
#[tokio::test]
async fn only_a_claim_that_was_not_sent_for_certain_leaves_nothing_to_withdraw() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    taken(&store).await;
    server.stop();
    // The connection was open, so this call may have arrived.
    let first = claim(&store, &new_hold(), &request()).await;
    assert!(first.expect_err("the server has stopped").was_sent());
    for _ in 0..2 {
        let next = claim(&store, &new_hold(), &request()).await;
        assert!(!next.expect_err("no connection listens").was_sent());
    }
}
