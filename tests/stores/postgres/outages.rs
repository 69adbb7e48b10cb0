//! Servers that stop, come back, or take their time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use idempotency::{
    Idempotency, Run, RunError, Store,
    store::{Claim, IfOwner, StoreErrorKind},
};
use tests::servers::postgres::PostgresServer;

use super::{hold_on, named, new_hold, request, store};
use crate::{claim, within_a_minute, won};

// proves: store-down-nothing-runs, store-outage-fails-open
#[tokio::test]
async fn nothing_runs_while_the_server_is_stopped_and_it_is_used_again_once_it_is_back() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let store = store(&server.database().await).await;
    let engine = Idempotency::new(store.clone());
    let runs = Arc::new(AtomicUsize::new(0));
    let work = || {
        let runs = Arc::clone(&runs);
        async move { Ok::<_, ()>(runs.fetch_add(1, Ordering::SeqCst) + 1) }
    };
    let (scope, key) = named("before");
    let before = engine.run(&scope, &key, request(), work()).await;
    assert_eq!(before.expect("a value"), Run::Executed(1));
    server.stop();

    let claim = claim(&store, &new_hold(), &request()).await;
    let kind = claim.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unavailable));
    let (scope, key) = named("meanwhile");
    let refused = engine.run(&scope, &key, request(), work()).await;
    assert!(matches!(refused, Err(RunError::Rejected(_))), "{refused:?}");
    assert_eq!(runs.load(Ordering::SeqCst), 1);

    server.restart();
    server.connect().await;
    let after = engine.run(&scope, &key, request(), work()).await;
    assert_eq!(after.expect("a value"), Run::Executed(2));
    let (scope, key) = named("before");
    let replay = engine.run(&scope, &key, request(), work()).await;
    assert_eq!(replay.expect("a replay"), Run::Replayed(1));
}

// proves: failed-completion-keeps-key, stored-before-sent, failed-completion-frees-key
#[tokio::test]
async fn a_response_that_cannot_be_stored_is_sent_and_stored_once_the_server_is_back() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let store = store(&server.database().await).await;
    let engine = Idempotency::new(store.clone());
    let (scope, key) = named("k");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let (go_on, going_on) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let engine = engine.clone();
        async move {
            let (scope, key) = named("k");
            let work = async move {
                stop.send(()).expect("the test");
                going_on.await.expect("the test");
                Ok::<_, ()>("booked".to_owned())
            };
            engine.run(&scope, &key, request(), work).await
        }
    });
    stopped.await.expect("the work");
    server.stop();
    go_on.send(()).expect("the work");
    let first = running.await.expect("the run").expect("its value");
    assert_eq!(first, Run::Executed("booked".to_owned()));

    server.restart();
    // The completion is retried until it is done, and no other request gets the key meanwhile.
    let stored = async {
        loop {
            let work = async { Ok::<_, ()>("booked twice".to_owned()) };
            match engine.run(&scope, &key, request(), work).await {
                Ok(replay) => {
                    assert_eq!(replay, Run::Replayed("booked".to_owned()));
                    break;
                }
                Err(refused) => assert!(matches!(refused, RunError::Rejected(_)), "{refused:?}"),
            }
        }
    };
    within_a_minute("the stored response", stored).await;
}

// proves: own-claim-unrecognised
#[tokio::test]
async fn a_claim_that_took_too_long_recognises_itself() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let store = store(&server.database().await).await;
    let (claimed, completed) = (new_hold(), new_hold());
    claim(&store, &completed, &request())
        .await
        .expect("a claim");
    server.signal("STOP");
    let late = claim(&store, &claimed, &request()).await;
    let kind = late.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unavailable));
    let outcome = Bytes::from_static(b"booked");
    let late = store.complete(&completed, outcome.clone()).await;
    let kind = late.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unavailable));
    server.signal("CONT");

    let won = won(1);
    assert_eq!(claim(&store, &claimed, &request()).await.ok(), Some(won));
    let fingerprint = request();
    assert_eq!(
        claim(&store, &hold_on(claimed.id), &request()).await.ok(),
        Some(Claim::in_flight(fingerprint))
    );
    let done = store.complete(&completed, outcome).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

// proves: deaf-store-left-quickly, dropped-future-loses-nothing
#[tokio::test]
async fn only_a_claim_that_was_not_sent_for_certain_leaves_nothing_to_withdraw() {
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let store = store(&server.database().await).await;
    assert_eq!(
        claim(&store, &new_hold(), &request()).await.ok(),
        Some(won(1))
    );
    server.stop();
    // The connection was open, so this call may have arrived.
    let first = claim(&store, &new_hold(), &request()).await;
    assert!(first.expect_err("the server has stopped").was_sent());
    let next = claim(&store, &new_hold(), &request()).await;
    assert!(!next.expect_err("no connection listens").was_sent());
}
