//! The server stops, stalls, restarts, forgets, fills up, and loses connections: nothing runs twice, and the store
//! goes on by itself.

use bytes::Bytes;
use idempotency::{
    Claim, Fenced, Fingerprint, Hold, Phase, RedisError, RedisStore, Resolution, Store, StoreError,
    StoreErrorKind,
};
use tests::servers::redis::RedisServer;

use super::{hold_on, new_hold};
use crate::{claim, proxy::Proxy, won};

fn request() -> Fingerprint {
    Fingerprint::of([b"book".as_slice()])
}

async fn connect(server: &RedisServer) -> RedisStore {
    RedisStore::connect(&server.url()).await.expect("a store")
}

async fn taken(store: &RedisStore) -> Hold {
    let hold = new_hold();
    let claim = claim(store, &hold, &request()).await.expect("a claim");
    assert_eq!(claim, won(1));
    hold
}

async fn keep(store: &RedisStore, hold: &Hold) {
    let kept = store.checkpoint(hold, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(Fenced::Done(())));
}

async fn complete(store: &RedisStore, hold: &Hold) {
    let done = store.complete(hold, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(Fenced::Done(_))), "{done:?}");
}

async fn is_replayed(store: &RedisStore, hold: &Hold) -> bool {
    let claim = claim(store, &hold_on(hold), &request()).await;
    matches!(claim, Ok(Claim::Completed { outcome, .. }) if outcome == "booked")
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind) {
    let error = result.expect_err("the step fails");
    assert_eq!(error.kind(), kind, "{error:?}");
}

// behaviour 128, 130, 131
// race 26, 57
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
        claim(&store, &hold_on(&ended), &request()).await,
        unavailable,
    );
    assert_kind(store.renew(&running).await, unavailable);
    assert_kind(store.complete(&running, Bytes::new()).await, unavailable);
    assert_kind(store.release(&running).await, unavailable);
    assert_kind(store.inspect(&running.id).await, unavailable);
    assert_kind(store.list(None, 10).await, unavailable);

    server.start_again();
    assert_eq!(
        claim(&store, &hold_on(&running), &request()).await.ok(),
        Some(Claim::InFlight {
            fingerprint: request()
        })
    );
    complete(&store, &running).await;
    assert!(is_replayed(&store, &running).await);
    assert!(is_replayed(&store, &ended).await);
}

// race 7, 26
#[tokio::test]
async fn a_server_that_has_forgotten_a_hold_takes_nothing_from_its_owner() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let forgotten = taken(&store).await;
    server.stop();
    server.start_again();
    let successor = hold_on(&forgotten);
    assert_eq!(
        claim(&store, &successor, &request()).await.ok(),
        Some(won(1))
    );
    assert_eq!(store.renew(&forgotten).await.ok(), Some(Fenced::Lost));
    let done = store.complete(&forgotten, Bytes::new()).await;
    assert_eq!(done.ok(), Some(Fenced::Lost));
    assert_eq!(store.release(&forgotten).await.ok(), Some(Fenced::Lost));
    complete(&store, &successor).await;
}

// behaviour 130
// race 5
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
        claim(&store, &hold_on(&hold), &request()).await.ok(),
        Some(Claim::InFlight {
            fingerprint: request()
        })
    );
}

// behaviour 130
#[tokio::test]
async fn a_connection_that_the_server_has_closed_is_made_anew_without_an_error() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let cut = || {
        let killed: usize = redis::cmd("CLIENT")
            .arg(["KILL", "TYPE", "normal"].as_slice())
            .query(&mut server.connection())
            .expect("the kill");
        assert!(killed >= 1, "the store's connection was there");
    };
    cut();
    let hold = taken(&store).await;
    cut();
    assert_eq!(store.renew(&hold).await.ok(), Some(Fenced::Done(())));
    cut();
    assert!(matches!(store.inspect(&hold.id).await, Ok(Some(_))));
    cut();
    assert_eq!(store.list(None, 10).await.expect("a list").len(), 1);
    cut();
    complete(&store, &hold).await;
    cut();
    assert!(is_replayed(&store, &hold).await);
    let released = taken(&store).await;
    cut();
    assert_eq!(store.release(&released).await.ok(), Some(Fenced::Done(())));
}

// behaviour 4, 76
// race 5
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_cut_in_the_middle_leave_every_key_with_one_owner() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let cutting = tokio::task::spawn_blocking({
        let mut connection = server.connection();
        move || {
            for _ in 0..200 {
                let killed: Result<usize, _> = redis::cmd("CLIENT")
                    .arg(["KILL", "TYPE", "normal", "SKIPME", "yes"].as_slice())
                    .query(&mut connection);
                killed.expect("the kill");
            }
        }
    });
    let mut owned = 0;
    while !cutting.is_finished() || owned == 0 {
        let (one, other) = {
            let hold = new_hold();
            (hold.clone(), hold_on(&hold))
        };
        let insist = async |hold: &Hold| loop {
            if let Ok(claim) = claim(&store, hold, &request()).await {
                return claim;
            }
        };
        let claims = tokio::join!(insist(&one), insist(&other));
        let lost = Claim::InFlight {
            fingerprint: request(),
        };
        let won = won(1);
        let (owner, stranger) = match claims {
            claims if claims == (won.clone(), lost.clone()) => (one, other),
            claims if claims == (lost, won) => (other, one),
            claims => panic!("one owner, and not {claims:?}"),
        };
        loop {
            match store.complete(&stranger, Bytes::new()).await {
                Ok(done) => break assert_eq!(done, Fenced::Lost),
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
            }
        }
        while store.complete(&owner, Bytes::new()).await.is_err() {}
        owned += 1;
    }
    cutting.await.expect("the cuts");
}

// race 5
#[tokio::test]
async fn a_step_whose_reply_is_lost_recognises_itself_or_says_that_it_does_not_know() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url).await.expect("a store");
    // The server has to know the scripts, or what is lost is no more than its word that it does not.
    let hold = taken(&store).await;
    assert_eq!(store.renew(&hold).await.ok(), Some(Fenced::Done(())));
    keep(&store, &hold).await;
    complete(&store, &hold).await;
    let hold = taken(&store).await;
    assert_eq!(store.release(&hold).await.ok(), Some(Fenced::Done(())));

    proxy.lose_the_next_reply();
    let hold = taken(&store).await;
    proxy.lose_the_next_reply();
    assert_eq!(store.renew(&hold).await.ok(), Some(Fenced::Done(())));
    proxy.lose_the_next_reply();
    keep(&store, &hold).await;
    proxy.lose_the_next_reply();
    complete(&store, &hold).await;
    assert!(is_replayed(&store, &hold).await);

    // These leave nothing by which they could be recognised.
    let hold = taken(&store).await;
    proxy.lose_the_next_reply();
    assert_kind(store.release(&hold).await, StoreErrorKind::Unavailable);
    assert_eq!(store.inspect(&hold.id).await.expect("an inspection"), None);
    let hold = taken(&store).await;
    proxy.lose_the_next_reply();
    let resolution = Resolution::Complete {
        outcome: Bytes::new(),
        ttl: hold.ttl,
    };
    let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
    assert_kind(resolved, StoreErrorKind::Unavailable);
    let record = store.inspect(&hold.id).await.expect("an inspection");
    let phase = record.map(|record| record.phase);
    assert!(matches!(phase, Some(Phase::Completed { .. })), "{phase:?}");
}

// behaviour 130
// race 5
#[tokio::test]
async fn a_connection_on_which_nothing_comes_back_is_given_up() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url).await.expect("a store");
    taken(&store).await;
    proxy.silence();
    let hold = new_hold();
    let silenced = claim(&store, &hold, &request()).await;
    assert_kind(silenced, StoreErrorKind::Unavailable);
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
}

// behaviour 130
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
    // The connection to the old one is still there, and is not used.
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
    assert_eq!(store.renew(&hold).await.ok(), Some(Fenced::Done(())));
    flush();
    complete(&store, &hold).await;
    flush();
    assert!(is_replayed(&store, &hold).await);
    flush();
    assert!(matches!(store.inspect(&hold.id).await, Ok(Some(_))));
    flush();
    assert_eq!(store.release(&released).await.ok(), Some(Fenced::Done(())));
}

// behaviour 116
// race 18
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
    assert_eq!(store.renew(&running).await.ok(), Some(Fenced::Done(())));
    keep(&store, &running).await;
    complete(&store, &running).await;
    assert!(is_replayed(&store, &running).await);
    assert_eq!(
        store.release(&given_back).await.ok(),
        Some(Fenced::Done(()))
    );
    limit("0");
    taken(&store).await;
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_an_error_that_tells_no_secrets() {
    let Some(server) = RedisServer::start(&["--requirepass", "right"]) else {
        return;
    };
    let wrong = server.url().replace("redis://", "redis://:wr0ng@");
    let refused = RedisStore::connect(&wrong)
        .await
        .expect_err("the password is wrong");
    assert!(matches!(refused, RedisError::Connect(_)), "{refused:?}");
    let right = server.url().replace("redis://", "redis://:right@");
    let store = RedisStore::connect(&right).await.expect("a store");
    server.stop();
    let stopped = RedisStore::connect(&wrong)
        .await
        .expect_err("nobody is there");
    assert!(matches!(stopped, RedisError::Connect(_)), "{stopped:?}");
    let failed = claim(&store, &new_hold(), &request())
        .await
        .expect_err("nobody is there");
    let mut said = format!("{refused:?} {stopped:?} {store:?} {failed:?}");
    for url in [
        "redis://:wr0ng@host:port",
        "http://:wr0ng@host",
        "wr0ng",
        "redis://:wr0ng@",
    ] {
        let unusable = RedisStore::connect(url).await.expect_err("no such URL");
        assert!(matches!(unusable, RedisError::Url(_)), "{unusable:?}");
        said += &format!("{unusable:?}");
    }
    let nowhere = RedisStore::cluster([""; 0]).await.expect_err("no URL");
    assert!(matches!(nowhere, RedisError::Connect(_)), "{nowhere:?}");
    assert!(!said.contains("wr0ng") && !said.contains("right"), "{said}");
}

// behaviour 97
// race 37
#[tokio::test]
async fn an_outcome_above_the_limit_is_refused_and_the_hold_stays() {
    let Some(server) = RedisServer::shared() else {
        return;
    };
    let store = connect(server).await;
    let owner = new_hold();
    claim(&store, &owner, &request()).await.expect("a claim");
    let before = store.inspect(&owner.id).await.expect("an inspection");
    let outcome = Bytes::from(vec![0; store.outcome_limit() + 1]);
    let refused = store.complete(&owner, outcome.clone()).await;
    assert_eq!(
        refused.expect_err("too long").kind(),
        StoreErrorKind::TooLarge
    );
    let resolution = Resolution::Complete {
        outcome,
        ttl: owner.ttl,
    };
    let refused = store.resolve(&owner.id, &owner.token, resolution).await;
    assert_eq!(
        refused.expect_err("too long").kind(),
        StoreErrorKind::TooLarge
    );
    let after = store.inspect(&owner.id).await.expect("an inspection");
    assert_eq!(after, before);
    store.complete(&owner, Bytes::new()).await.expect("an end");
}
