//! Connections are cut, lose replies, or fall silent: a step recognises itself, or its error says that its outcome is unknown.

use bytes::Bytes;
use idempotency::{
    RedisStore, Store,
    store::{Claim, Hold, IfOwner, ListRequest, Phase, Resolution, StoreErrorKind},
};
use tests::servers::redis::RedisServer;

use super::{assert_kind, complete, connect, hold_on, is_replayed, keep, new_hold, request, taken};
use crate::{claim, dark, proxy::Proxy, won};

// proves: store-down-nothing-runs
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
    assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
    cut();
    assert!(matches!(store.inspect(&hold.id).await, Ok(Some(_))));
    cut();
    assert_eq!(
        store
            .list(&ListRequest::new(10))
            .await
            .expect("a list")
            .len(),
        1
    );
    cut();
    complete(&store, &hold).await;
    cut();
    assert!(is_replayed(&store, &hold).await);
    let released = taken(&store).await;
    cut();
    assert_eq!(store.release(&released).await.ok(), Some(IfOwner::Done(())));
}

// proves: one-atomic-claim, concurrent-equals-run-once, own-claim-unrecognised
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
            (hold.clone(), hold_on(hold.id))
        };
        let insist = async |hold: &Hold| loop {
            if let Ok(claim) = claim(&store, hold, &request()).await {
                return claim;
            }
        };
        let claims = tokio::join!(insist(&one), insist(&other));
        let lost = Claim::in_flight(request());
        let won = won(1);
        let (owner, stranger) = match claims {
            claims if claims == (won.clone(), lost.clone()) => (one, other),
            claims if claims == (lost, won) => (other, one),
            claims => panic!("one owner, and not {claims:?}"),
        };
        loop {
            match store.complete(&stranger, Bytes::new()).await {
                Ok(done) => break assert_eq!(done, IfOwner::NotOwner),
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
            }
        }
        while store.complete(&owner, Bytes::new()).await.is_err() {}
        owned += 1;
    }
    cutting.await.expect("the cuts");
}

// proves: own-claim-unrecognised
#[tokio::test]
async fn a_step_whose_reply_is_lost_recognises_itself_or_its_result_is_unknown() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (proxy, store) = behind_a_proxy(&server).await;
    // The server has to know the scripts. Otherwise the lost reply would only be the error that it does not.
    let hold = taken(&store).await;
    assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
    keep(&store, &hold).await;
    complete(&store, &hold).await;
    suspend(&store, &taken(&store).await).await;
    let hold = taken(&store).await;
    assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::Done(())));
    let withdrawn = store.withdraw(&hold, &request()).await;
    withdrawn.expect("a withdrawal");

    proxy.lose_the_next_reply();
    let hold = taken(&store).await;
    proxy.lose_the_next_reply();
    assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
    proxy.lose_the_next_reply();
    keep(&store, &hold).await;
    proxy.lose_the_next_reply();
    complete(&store, &hold).await;
    assert!(is_replayed(&store, &hold).await);

    let hold = taken(&store).await;
    proxy.lose_the_next_reply();
    assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::NotOwner));
    assert_eq!(store.inspect(&hold.id).await.expect("an inspection"), None);
    let hold = taken(&store).await;
    proxy.lose_the_next_reply();
    let resolved = store.resolve(&hold.id, &hold.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    let hold = taken(&store).await;
    keep(&store, &hold).await;
    for _ in 0..2 {
        proxy.lose_the_next_reply();
        let withdrawn = store.withdraw(&hold, &request()).await;
        withdrawn.expect("a withdrawal");
        let record = store.inspect(&hold.id).await.expect("an inspection");
        assert_eq!(record.map(|record| record.attempt), Some(1));
    }

    let hold = taken(&store).await;
    proxy.lose_the_next_reply();
    suspend(&store, &hold).await;
    let taken_over = claim(&store, &hold_on(hold.id), &request()).await;
    let progress = Bytes::from_static(b"charged");
    let attempt = 2;
    let second = Claim::won(attempt, progress);
    assert_eq!(taken_over.ok(), Some(second));

    let hold = taken(&store).await;
    let resolution = || Resolution::Complete {
        outcome: Bytes::new(),
        ttl: hold.ttl,
    };
    proxy.lose_the_next_reply();
    let resolved = store.resolve(&hold.id, &hold.token, resolution());
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    let again = store.resolve(&hold.id, &hold.token, resolution()).await;
    assert_eq!(again.ok(), Some(IfOwner::NotOwner));
    let record = store.inspect(&hold.id).await.expect("an inspection");
    let phase = record.map(|record| record.phase);
    assert!(matches!(phase, Some(Phase::Completed { .. })), "{phase:?}");
}

// proves: store-down-nothing-runs, own-claim-unrecognised
#[tokio::test]
async fn a_connection_on_which_nothing_comes_back_is_given_up() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (proxy, store) = behind_a_proxy(&server).await;
    taken(&store).await;
    proxy.silence();
    let hold = new_hold();
    let silenced = claim(&store, &hold, &request()).await;
    assert_kind(silenced, StoreErrorKind::Unavailable);
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
}

// proves: deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn a_run_whose_connection_goes_dark_keeps_its_key_and_its_outcome() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (proxy, here) = behind_a_proxy(&server).await;
    dark::a_run_goes_on(&proxy, here, connect(&server).await).await;
}

/// A command is not sent again while the first one may still be carried out.
// proves: store-down-nothing-runs, deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn of_sequential_requests_only_the_first_is_refused_because_a_connection_is_dark() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (proxy, here) = behind_a_proxy(&server).await;
    dark::only_so_many_are_refused(1, &proxy, here).await;
}

// proves: own-claim-unrecognised
#[tokio::test]
async fn a_correction_whose_reply_is_lost_recognises_itself() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (proxy, store) = behind_a_proxy(&server).await;
    // The server has to know the scripts. Otherwise the lost reply would only be the error that it does not.
    for is_lost in [false, true] {
        let hold = taken(&store).await;
        complete(&store, &hold).await;
        let lose = || is_lost.then(|| proxy.lose_the_next_reply());
        let outcome = Bytes::from_static(b"moved");
        let replace = Resolution::Replace {
            outcome: outcome.clone(),
        };
        lose();
        let replaced = store.resolve(&hold.id, &hold.token, replace).await;
        assert_eq!(replaced.ok(), Some(IfOwner::Done(())));
        let record = store.inspect(&hold.id).await.expect("an inspection");
        let phase = record.map(|record| record.phase);
        assert_eq!(phase, Some(Phase::Completed { outcome }));
        lose();
        for expected in [IfOwner::Done(()), IfOwner::NotOwner] {
            let forgotten = store.resolve(&hold.id, &hold.token, Resolution::Forget);
            assert_eq!(forgotten.await.ok(), Some(expected));
        }
        assert_eq!(store.inspect(&hold.id).await.expect("an inspection"), None);
    }
}

async fn suspend(store: &RedisStore, hold: &Hold) {
    let suspended = store.suspend(hold, Bytes::from_static(b"charged"));
    assert_eq!(suspended.await.ok(), Some(IfOwner::Done(())));
}

async fn behind_a_proxy(server: &RedisServer) -> (Proxy, RedisStore) {
    let proxy = Proxy::to(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url).await;
    (proxy, store.expect("a store"))
}
