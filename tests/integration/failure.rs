//! Stores that fail, owners that die, clients that leave.

use std::{sync::Arc, time::Duration};

use idempotency::{Claim, Clock, Fenced, Fingerprint, MemoryStore, Phase, Resolution, Token};
use reqwest::Client;
use rstest_reuse::apply;
use tokio::io::AsyncWriteExt;

use crate::{
    answer::Answer,
    world::{BOOKING, Backend, World, each_store},
};

fn stop_request(key: &str) -> String {
    format!(
        "POST /stop HTTP/1.1\r\nhost: test\r\nidempotency-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{BOOKING}",
        BOOKING.len(),
    )
}

/// What a client finds that left while its request ran.
async fn comes_back(world: &World, key: &str) {
    let duplicate = Answer::to(world.post("/stop", key, BOOKING)).await;
    duplicate.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    world.probe.proceed();
    let again = Answer::to(
        world
            .post("/stop", key, BOOKING)
            .header("prefer", "wait=60"),
    )
    .await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(again.status(), "201 Created");
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 125
// race 27
#[apply(each_store)]
#[tokio::test]
async fn a_client_that_closes_its_connection_finds_its_answer_later(backend: Backend) {
    let world = World::new(backend).await;
    let mut connection = world.connect().await;
    connection
        .write_all(stop_request("k").as_bytes())
        .await
        .expect("the server reads");
    world.probe.started().await;
    drop(connection);
    comes_back(&world, "k").await;
}

// behaviour 125
#[apply(each_store)]
#[tokio::test]
async fn a_client_that_closes_its_half_finds_its_answer_later(backend: Backend) {
    let world = World::new(backend).await;
    let mut connection = world.connect().await;
    connection
        .write_all(stop_request("k").as_bytes())
        .await
        .expect("the server reads");
    world.probe.started().await;
    connection.shutdown().await.expect("a half-open connection");
    comes_back(&world, "k").await;
}

// behaviour 125
#[apply(each_store)]
#[tokio::test]
async fn a_client_that_resets_its_stream_finds_its_answer_later(backend: Backend) {
    let world = World::new(backend).await;
    let http2 = Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    let request = http2
        .post(format!("http://{}/stop", world.address))
        .header("idempotency-key", "k")
        .header("content-type", "application/json")
        .body(BOOKING);
    let running = world.send(request);
    world.probe.started().await;
    running.abort();
    assert!(running.await.is_err());
    comes_back(&world, "k").await;
}

// behaviour 126
#[apply(each_store)]
#[tokio::test]
async fn an_outer_timeout_does_not_stop_the_run(backend: Backend) {
    let timeout = tower_http::timeout::TimeoutLayer::with_status_code(
        http::StatusCode::GATEWAY_TIMEOUT,
        Duration::from_millis(100),
    );
    let world = World::wrapped(backend, |app| app.layer(timeout)).await;
    let answer = Answer::to(world.post("/stop", "k", BOOKING)).await;
    answer.assert_fresh("504 Gateway Timeout");
    world.probe.started().await;
    world.probe.proceed();
    world.levers.complete.called(1).await;
    let again = Answer::to(world.post("/stop", "k", BOOKING)).await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 127
#[apply(each_store)]
#[tokio::test]
async fn a_shutdown_waits_for_runs_and_takes_no_new_keys(backend: Backend) {
    let world = World::new(backend).await;
    let running = world.send(world.post("/stop", "k", BOOKING));
    world.probe.started().await;
    let waiting = world.send(
        world
            .post("/stop", "k", BOOKING)
            .header("prefer", "wait=60"),
    );
    world.levers.claim.called(3).await;

    let idempotency = world.idempotency.clone();
    let shutdown = tokio::spawn(async move { idempotency.shutdown().await });
    // The waiting duplicate hears of it first.
    let refused = waiting.await.expect("an answer");
    refused.assert_problem(
        "shutting-down",
        "503 Service Unavailable",
        "idempotency_shutting_down",
    );
    let claims = world.levers.claim.calls();
    let refused = Answer::to(world.booking("new")).await;
    refused.assert_problem(
        "shutting-down",
        "503 Service Unavailable",
        "idempotency_shutting_down",
    );
    assert_eq!(world.levers.claim.calls(), claims);
    assert!(!shutdown.is_finished());

    world.probe.proceed();
    running
        .await
        .expect("an answer")
        .assert_fresh("201 Created");
    shutdown.await.expect("a shutdown");
    let records = world
        .idempotency
        .store()
        .list(None, 10)
        .await
        .expect("a list");
    assert!(matches!(records[..], [ref record] if matches!(record.phase, Phase::Completed { .. })));
}

// behaviour 128
// race 12, 16
#[apply(each_store)]
#[tokio::test]
async fn a_key_whose_owner_died_is_taken_until_its_lease_ends(backend: Backend) {
    let world = World::new(backend).await;
    world.abandon("/bookings", "k", BOOKING).await;
    world.clock.advance(Duration::from_millis(29_999));
    let early = Answer::to(world.booking("k")).await;
    early.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    world.clock.advance(Duration::from_millis(1));
    // Another request does not get the key, even now.
    let other = Answer::to(world.post("/bookings", "k", "{}")).await;
    other.assert_problem(
        "key-reused",
        "422 Unprocessable Entity",
        "idempotency_key_reused",
    );
    let answer = Answer::to(world.booking("k")).await;
    answer.assert_fresh("201 Created");
    Answer::to(world.booking("k"))
        .await
        .assert_replay_of(&answer);
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 128
// race 56
#[apply(each_store)]
#[tokio::test]
async fn an_operator_can_resolve_what_an_owner_that_died_has_left(backend: Backend) {
    let world = World::new(backend).await;
    world.abandon("/bookings", "k", BOOKING).await;
    let store = world.idempotency.store();
    let (hold, _) = world.only_record().await;
    let strange = Token::random();
    let stranger = store.resolve(&hold.id, &strange, Resolution::Release);
    assert_eq!(stranger.await.expect("an answer"), Fenced::Lost);
    let freed = store.resolve(&hold.id, &hold.token, Resolution::Release);
    assert_eq!(freed.await.expect("an answer"), Fenced::Done(()));
    let first = Answer::to(world.booking("k")).await;
    first.assert_fresh("201 Created");

    // Where the operator knows what came of it, the key ends with that.
    let record = store.inspect(&hold.id).await.expect("an answer");
    let Phase::Completed { outcome } = record.expect("a record").phase else {
        panic!("the run has ended")
    };
    world.pass(3600);
    let purged = store.purge_expired(10).await.expect("a sweep");
    assert_eq!(purged, 1);
    world.abandon("/bookings", "k2", BOOKING).await;
    let (hold, _) = world.only_record().await;
    let ttl = Duration::from_secs(60);
    let ended = store.resolve(&hold.id, &hold.token, Resolution::Complete { outcome, ttl });
    assert_eq!(ended.await.expect("an answer"), Fenced::Done(()));
    let again = Answer::to(world.booking("k2")).await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(again.body, first.body);
    assert_eq!(world.probe.runs(), 0);
}

// behaviour 76, 128
// race 1
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_take_over_one_runs(backend: Backend) {
    let world = World::new(backend).await;
    world.abandon("/bookings", "k", BOOKING).await;
    world.pass(30);
    let requests: Vec<_> = (0..20).map(|_| world.send(world.booking("k"))).collect();
    for request in requests {
        let answer = request.await.expect("an answer");
        assert!([201, 409].contains(&answer.status.as_u16()), "{answer:?}");
    }
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 129
// race 6
#[apply(each_store)]
#[tokio::test]
async fn an_owner_that_lost_its_lease_cannot_store_and_gives_the_new_owners_answer(
    backend: Backend,
) {
    let world = World::new(backend).await;
    let slow = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    // As if the process had been paused: time passes, and nothing is renewed.
    world.pass(10);
    let taken_over = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    world.probe.proceed_with(1);
    let slow = slow.await.expect("an answer");
    slow.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    world.probe.proceed();
    let taken_over = taken_over.await.expect("an answer");
    taken_over.assert_fresh("201 Created");
    assert_eq!(taken_over.json()["run"], 2);
    Answer::to(world.post("/short", "k", BOOKING))
        .await
        .assert_replay_of(&taken_over);
}

// behaviour 129
// race 6
#[apply(each_store)]
#[tokio::test]
async fn an_owner_that_comes_too_late_replays_what_the_new_owner_stored(backend: Backend) {
    let world = World::new(backend).await;
    let slow = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    world.pass(10);
    let taken_over = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    world.probe.proceed_with(2);
    let taken_over = taken_over.await.expect("an answer");
    taken_over.assert_fresh("201 Created");
    world.probe.proceed_with(1);
    slow.await.expect("an answer").assert_replay_of(&taken_over);
}

// behaviour 130
// race 57
#[apply(each_store)]
#[tokio::test]
async fn without_the_store_nothing_runs(backend: Backend) {
    let world = World::new(backend).await;
    world.levers.claim.lose_requests(3);
    for _ in 0..3 {
        let answer = Answer::to(world.booking("k")).await;
        answer.assert_problem(
            "store-unavailable",
            "503 Service Unavailable",
            "idempotency_store_unavailable",
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(world.probe.runs(), 0);
    Answer::to(world.booking("k"))
        .await
        .assert_fresh("201 Created");
}

// behaviour 130
// race 5
#[apply(each_store)]
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_given_back(backend: Backend) {
    let world = World::new(backend).await;
    world.levers.claim.lose_answers(1);
    let answer = Answer::to(world.booking("k")).await;
    answer.assert_problem(
        "store-unavailable",
        "503 Service Unavailable",
        "idempotency_store_unavailable",
    );
    let again = Answer::to(world.booking("k").header("prefer", "wait=60")).await;
    again.assert_fresh("201 Created");
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 125
// race 5
#[apply(each_store)]
#[tokio::test]
async fn a_claim_whose_client_left_is_given_back(backend: Backend) {
    let world = World::new(backend).await;
    world.levers.claim.stop_answers(1);
    let mut connection = world.connect().await;
    connection
        .write_all(stop_request("k").as_bytes())
        .await
        .expect("the server reads");
    world.levers.claim.stopped().await;
    drop(connection);
    let again = world.send(
        world
            .post("/stop", "k", BOOKING)
            .header("prefer", "wait=60"),
    );
    world.levers.claim.called(3).await;
    world.levers.claim.open();
    world.probe.started().await;
    world.probe.proceed();
    again.await.expect("an answer").assert_fresh("201 Created");
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 131
// race 9
#[apply(each_store)]
#[tokio::test]
async fn a_completion_that_fails_is_tried_again_before_the_client_hears(backend: Backend) {
    let world = World::new(backend).await;
    world.levers.complete.lose_requests(2);
    let first = Answer::to(world.booking("k")).await;
    first.assert_fresh("201 Created");
    assert!(first.header("idempotency-expires").is_some());
    Answer::to(world.booking("k"))
        .await
        .assert_replay_of(&first);
    assert_eq!(
        (world.levers.complete.calls(), world.levers.release.calls()),
        (3, 0)
    );
}

// behaviour 131
// race 5, 9
#[apply(each_store)]
#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_recognised(backend: Backend) {
    let world = World::new(backend).await;
    world.levers.complete.lose_answers(1);
    let first = Answer::to(world.booking("k")).await;
    first.assert_fresh("201 Created");
    Answer::to(world.booking("k"))
        .await
        .assert_replay_of(&first);
}

// behaviour 131
// race 9
#[apply(each_store)]
#[tokio::test]
async fn a_client_has_its_answer_though_the_store_is_away_and_the_key_stays_taken(
    backend: Backend,
) {
    let world = World::new(backend).await;
    world.levers.complete.lose_requests(4);
    let first = Answer::to(world.booking("k")).await;
    first.assert_fresh("201 Created");
    assert_eq!(first.header("idempotency-expires"), None);
    assert_eq!(world.levers.release.calls(), 0);
    // The fifth try gets through.
    let again = Answer::to(world.booking("k").header("prefer", "wait=60")).await;
    assert!(again.is_replay());
    assert_eq!(again.body, first.body);
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 134
#[apply(each_store)]
#[tokio::test]
async fn the_answer_is_stored_before_it_is_sent(backend: Backend) {
    let world = World::new(backend).await;
    world.levers.complete.stop_answers(1);
    let first = world.send(world.booking("k"));
    world.levers.complete.stopped().await;
    // It is stored, and another client can have it; the first one still waits.
    let other = Answer::to(world.booking("k")).await;
    assert!(other.is_replay());
    assert!(!first.is_finished());
    world.levers.complete.open();
    let first = first.await.expect("an answer");
    first.assert_fresh("201 Created");
    other.assert_replay_of(&first);
}

// behaviour 135
// race 38
#[apply(each_store)]
#[tokio::test]
async fn an_outcome_that_cannot_be_read_is_an_error_and_nothing_runs(backend: Backend) {
    for outcome in [
        b"".as_slice(),
        b"\x01",
        b"\x09\x01\x00\xc8\x00\x00",
        b"\x01\x01\x00\xc8\x00\x05x",
        b"\x01\x07",
    ] {
        let world = World::new(backend).await;
        Answer::to(world.booking("k"))
            .await
            .assert_fresh("201 Created");
        let (mut hold, fingerprint) = world.only_record().await;
        world.pass(3600);
        hold.token = Token::random();
        let store = world.idempotency.store();
        assert_eq!(
            store.claim(&hold, &fingerprint).await.expect("a claim"),
            Claim::Won { attempt: 1 }
        );
        let completed = store
            .complete(&hold, bytes::Bytes::copy_from_slice(outcome))
            .await;
        assert!(matches!(completed, Ok(Fenced::Done(_))));
        let answer = Answer::to(world.booking("k")).await;
        answer.assert_problem(
            "store-unavailable",
            "503 Service Unavailable",
            "idempotency_store_unavailable",
        );
        assert_eq!(world.probe.runs(), 1, "{outcome:?}");
    }
}

// behaviour 69, 135
// race 63
#[apply(each_store)]
#[tokio::test]
async fn a_fingerprint_of_another_version_is_not_compared_and_nothing_runs(backend: Backend) {
    let world = World::new(backend).await;
    Answer::to(world.booking("k"))
        .await
        .assert_fresh("201 Created");
    let (mut hold, fingerprint) = world.only_record().await;
    world.pass(3600);
    hold.token = Token::random();
    let mut newer = *fingerprint.as_bytes();
    newer[0] += 1;
    let store = world.idempotency.store();
    store
        .claim(&hold, &Fingerprint::from_bytes(newer))
        .await
        .expect("a claim");
    let answer = Answer::to(world.booking("k")).await;
    answer.assert_problem(
        "key-incomparable",
        "409 Conflict",
        "idempotency_key_incomparable",
    );
    assert_eq!(world.probe.runs(), 1);
}

// behaviour 116
// race 18, 52
#[tokio::test]
async fn a_full_store_refuses_new_keys_and_forgets_none() {
    let clock = Clock::manual();
    let store = MemoryStore::new()
        .with_limit_bytes(2500)
        .with_clock(clock.clone());
    let world = World::over(Arc::new(store), clock).await;
    let mut stored = Vec::new();
    let refused = loop {
        let key = stored.len().to_string();
        let answer = Answer::to(world.booking(&key)).await;
        if answer.status() != "201 Created" {
            break answer;
        }
        stored.push(answer);
    };
    refused.assert_problem(
        "store-unavailable",
        "503 Service Unavailable",
        "idempotency_store_full",
    );
    assert!(stored.len() > 1);
    for (key, first) in stored.iter().enumerate() {
        Answer::to(world.booking(&key.to_string()))
            .await
            .assert_replay_of(first);
    }
    assert_eq!(world.probe.runs(), stored.len());
    world.pass(3600);
    world
        .idempotency
        .store()
        .purge_expired(100)
        .await
        .expect("a sweep");
    Answer::to(world.booking("new"))
        .await
        .assert_fresh("201 Created");
}
