//! Which responses are stored, and which leave the key free.

use serde_json::json;
use tests::reply::Reply;

use crate::{
    backend::{Backend, installed},
    test_server::{BOOKING, TestServer},
};

/// Sends the same scripted request twice and returns both responses.
async fn twice(
    server: &TestServer,
    path: &str,
    key: &str,
    script: &serde_json::Value,
) -> (Reply, Reply) {
    let script = script.to_string();
    let first = Reply::to(server.post(path, key, &script)).await;
    (first, Reply::to(server.post(path, key, &script)).await)
}

// proves: first-response-unmarked, replay-keeps-status, stored-202-stays-202, redirects-stored
// proves: successes-and-redirects-stored, handler-refusals-stored
#[tokio::test]
async fn final_responses_are_stored_whatever_they_say() {
    let server = TestServer::new().await;
    for (number, status) in [
        200, 201, 202, 204, 206, 301, 302, 303, 304, 400, 402, 405, 409, 410, 412, 415, 418, 422,
        451,
    ]
    .into_iter()
    .enumerate()
    {
        let script = json!({ "status": status, "headers": [["location", "/there"]] });
        let (first, again) = twice(&server, "/script", &status.to_string(), &script).await;
        assert_eq!(first.status.as_u16(), status);
        first.assert_fresh(first.status.as_u16());
        assert!(first.header("idempotency-expires").is_some());
        again.assert_replays(&first);
        assert_eq!(server.probe.runs(), number + 1);
    }
}

// proves: transient-responses-not-stored, redirects-307-308-released
// proves: stored-rejection-shadows-correction
#[tokio::test]
async fn responses_that_can_change_are_not_stored() {
    let server = TestServer::new().await;
    for status in [
        307, 308, 401, 403, 407, 408, 413, 421, 425, 426, 428, 429, 431,
    ] {
        let before = server.probe.runs();
        let (first, again) = twice(
            &server,
            "/script",
            &status.to_string(),
            &json!({ "status": status, "body": "{run}" }),
        )
        .await;
        first.assert_fresh(first.status.as_u16());
        again.assert_fresh(first.status.as_u16());
        assert_ne!(first.body, again.body);
        assert_eq!(first.header("idempotency-expires"), None);
        assert_eq!(server.probe.runs(), before + 2, "{status}");
    }
    assert_eq!(server.records().await, 0);
}

// proves: failures-free-key, failures-stored-forever
#[tokio::test]
async fn failures_leave_the_key_free() {
    let server = TestServer::new().await;
    for status in [500, 502, 503, 504, 599] {
        let (first, again) = twice(
            &server,
            "/script",
            &status.to_string(),
            &json!({ "status": status, "body": "{run}" }),
        )
        .await;
        first.assert_fresh(first.status.as_u16());
        again.assert_fresh(first.status.as_u16());
        assert_ne!(first.body, again.body);
    }
    assert_eq!((server.probe.runs(), server.records().await), (10, 0));
}

// proves: failures-free-key
#[tokio::test]
async fn keep_all_stores_failures_too() {
    let server = TestServer::new().await;
    let (first, again) = twice(
        &server,
        "/script/all",
        "k",
        &json!({ "status": 503, "body": "{run}" }),
    )
    .await;
    first.assert_fresh(503);
    again.assert_replays(&first);
}

// proves: failures-free-key, failure-stored-on-request, failure-after-effect-reruns
#[tokio::test]
async fn a_handler_overrules_every_rule() {
    let server = TestServer::new().await;
    for (status, outcome, stored) in [
        (500, "store", true),
        (429, "store", true),
        (201, "release", false),
        (404, "release", false),
    ] {
        let script = json!({ "status": status, "outcome": outcome, "body": "{run}" });
        let (first, again) =
            twice(&server, "/script", &format!("{status}{outcome}"), &script).await;
        first.assert_fresh(first.status.as_u16());
        assert_eq!(again.is_replay(), stored, "{status} {outcome}");
        assert_eq!(first.body == again.body, stored);
    }
    let script = json!({ "status": 500, "outcome": "release", "body": "{run}" });
    let (_, again) = twice(&server, "/script/all", "all", &script).await;
    again.assert_fresh(500);
}

// proves: extractor-refusals-free-key
#[tokio::test]
async fn a_body_that_an_extractor_refuses_leaves_the_key_free() {
    let server = TestServer::new().await;
    let response = Reply::to(server.post("/bookings", "k", "{\"broken")).await;
    response.assert_fresh(400);
    let response = Reply::to(server.post("/script", "k", "{\"status\":\"text\"}")).await;
    response.assert_fresh(422);
    let request = server
        .request(reqwest::Method::POST, "/bookings")
        .header("idempotency-key", "k");
    Reply::to(request.body(BOOKING)).await.assert_fresh(415);
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
    // The corrected request may use the same key.
    Reply::to(server.booking("k")).await.assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

// proves: panic-frees-key
#[tokio::test]
async fn a_panic_gets_a_response_and_leaves_the_key_free() {
    let server = TestServer::new().await;
    let script = json!({ "panics": true });
    let (first, again) = twice(&server, "/script", "k", &script).await;
    for response in [first, again] {
        response.assert_problem("handler_failed");
    }
    assert_eq!((server.probe.runs(), server.records().await), (2, 0));

    let (first, again) = twice(&server, "/script/all", "all", &script).await;
    assert_eq!(first.status(), "500 Internal Server Error");
    again.assert_replays(&first);
    assert_eq!(server.probe.runs(), 3);
}

// proves: own-refusals-not-stored
#[tokio::test]
async fn the_layers_own_refusals_are_never_stored() {
    let server = TestServer::new().await;
    let malformed = Reply::to(server.booking("\"k")).await;
    malformed.assert_problem("idempotency_key_malformed");
    server.faults.claim.lose_requests(1);
    let unavailable = Reply::to(server.booking("k")).await;
    unavailable.assert_problem("idempotency_store_unavailable");
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    let reused = Reply::to(server.post("/bookings", "k", "{}")).await;
    reused.assert_problem("idempotency_key_reused");
    Reply::to(server.booking("k")).await.assert_replays(&first);
    assert_eq!(server.records().await, 1);
}

// proves: oversized-response-leaves-tombstone, large-response-unprotected
#[tokio::test]
async fn a_response_too_long_to_store_leaves_a_tombstone() {
    let server = TestServer::new().await;
    let longest = 1024 * 1024;
    for streamed in [false, true] {
        let key = format!("streamed-{streamed}");
        let script = json!({
            "status": 201,
            "body": "begin",
            "padding": 1024 * 1024 + 1,
            "streamed": streamed,
            "headers": [["location", "/bookings/7"]],
        });
        let before = server.probe.runs();
        let (first, again) = twice(&server, "/script", &key, &script).await;
        first.assert_fresh(201);
        assert_eq!(first.body.len(), 5 + 1024 * 1024 + 1);
        assert!(first.text().starts_with("begin..."), "{streamed}");
        again.assert_problem("idempotency_response_not_stored");
        assert_eq!(again.header("location"), Some("/bookings/7"));
        assert_eq!(server.probe.runs(), before + 1);

        let script = json!({ "padding": longest, "streamed": streamed });
        let (first, again) = twice(&server, "/script", &format!("{key}-longest"), &script).await;
        assert_eq!(first.body.len(), longest);
        again.assert_replays(&first);
    }
}

/// A Firestore document holds less than a record in the other stores.
// proves: oversized-response-leaves-tombstone, large-response-unprotected
#[tokio::test]
async fn a_response_too_long_for_the_store_leaves_a_tombstone() {
    let server = installed!(TestServer::on(Backend::Firestore).await);
    let limit = server.idempotency.store().outcome_limit();
    assert!(limit < 1024 * 1024);
    for streamed in [false, true] {
        let script = json!({
            "status": 201,
            "body": "begin",
            "padding": limit,
            "streamed": streamed,
            "headers": [["location", "/bookings/7"]],
        })
        .to_string();
        let key = format!("streamed-{streamed}");
        let before = server.probe.runs();
        let first = Reply::to(server.post("/script", &key, &script)).await;
        first.assert_fresh(201);
        assert!(first.text().starts_with("begin..."));
        assert_eq!(first.body.len(), 5 + limit);
        assert!(first.header("idempotency-expires").is_some());
        for _ in 0..2 {
            let again = Reply::to(server.post("/script", &key, &script)).await;
            again.assert_problem("idempotency_response_not_stored");
            assert_eq!(again.header("location"), Some("/bookings/7"));
        }
        assert_eq!(server.probe.runs(), before + 1);
        // Until the tombstone expires, another request cannot use the key either.
        let other = Reply::to(server.post("/script", &key, "{}")).await;
        other.assert_problem("idempotency_key_reused");
        server.pass(3660);
        Reply::to(server.post("/script", &key, &script))
            .await
            .assert_fresh(201);

        // The response's head counts towards the store's limit.
        let script = json!({ "padding": limit - 1024, "streamed": streamed });
        let (first, again) = twice(&server, "/script", &format!("{key}-longest"), &script).await;
        assert_eq!(first.body.len(), limit - 1024);
        again.assert_replays(&first);
    }
}

// proves: retry-after-4xx-released
#[tokio::test]
async fn a_refusal_with_retry_after_is_not_stored() {
    let server = TestServer::new().await;
    for path in ["/script", "/script/all"] {
        for status in [404, 409, 423] {
            let key = format!("k{path}{status}");
            let script = json!({
                "status": status,
                "body": "{run}",
                "headers": [["retry-after", "1"]],
            });
            let (first, again) = twice(&server, path, &key, &script).await;
            first.assert_fresh(first.status.as_u16());
            again.assert_fresh(first.status.as_u16());
            assert_ne!(first.body, again.body);
        }
    }
    // On a successful response the field means something else. The handler's own choice takes precedence.
    for script in [
        json!({ "status": 202, "body": "{run}", "headers": [["retry-after", "1"]] }),
        json!({ "status": 409, "body": "{run}", "headers": [["retry-after", "1"]], "outcome": "store" }),
    ] {
        let (first, again) = twice(
            &server,
            "/script",
            &script.to_string().len().to_string(),
            &script,
        )
        .await;
        again.assert_replays(&first);
    }
}

/// The booking is made although its response cannot be sent, so a retry must not make another one.
// proves: broken-success-leaves-tombstone
#[tokio::test]
async fn a_success_whose_body_breaks_off_is_not_made_again() {
    let server = TestServer::new().await;
    for (run, path) in [(1, "/script"), (2, "/script/all")] {
        let script = json!({
            "status": 201,
            "body": "half",
            "broken": true,
            "headers": [["location", "/bookings/7"]],
        });
        let (first, again) = twice(&server, path, &format!("k{run}"), &script).await;
        assert_eq!(first.status(), "500 Internal Server Error");
        assert_eq!(first.json()["code"], "response_broken");
        // Retries get another response, which this one does not promise.
        assert_eq!(first.header("idempotency-expires"), None);
        again.assert_problem("idempotency_response_not_stored");
        assert_eq!(again.header("location"), Some("/bookings/7"));
        assert_eq!((server.probe.runs(), server.records().await), (run, run));
    }
}

// proves: broken-success-leaves-tombstone
#[tokio::test]
async fn a_failure_whose_body_breaks_off_is_kept_only_where_all_are() {
    let server = TestServer::new().await;
    let script = json!({ "status": 409, "body": "half", "broken": true });
    let (first, again) = twice(&server, "/script", "k", &script).await;
    for response in [first, again] {
        response.assert_problem("response_broken");
    }
    assert_eq!((server.probe.runs(), server.records().await), (2, 0));

    for status in [409, 503] {
        let script = json!({ "status": status, "body": "half", "broken": true });
        let runs = server.probe.runs();
        let (first, again) = twice(&server, "/script/all", &status.to_string(), &script).await;
        assert_eq!(first.status(), "500 Internal Server Error");
        again.assert_replays(&first);
        assert_eq!(server.probe.runs(), runs + 1);
    }
}

/// A gateway passes on what another service says of another key. Of this one nothing is stored.
// proves: first-response-unmarked, only-replays-marked
#[tokio::test]
async fn an_expiry_that_a_handler_passes_on_is_not_sent() {
    let server = TestServer::new().await;
    let relayed = [
        ["idempotency-expires", "Fri, 01 Jan 2100 00:00:00 GMT"],
        ["idempotent-replayed", "true"],
        ["idempotency-problem", "idempotency_key_reused"],
    ];
    let script = json!({ "status": 503, "headers": relayed });
    let (first, again) = twice(&server, "/script", "k", &script).await;
    for response in [first, again] {
        assert_eq!(response.status(), "503 Service Unavailable");
        assert_eq!(response.header("idempotency-expires"), None);
        assert_eq!(response.header("idempotent-replayed"), None);
        assert_eq!(response.header("idempotency-problem"), None);
    }
    assert_eq!(server.probe.runs(), 2);
}
