//! What is sent again, and how.

use std::time::Duration;

use idempotency::client::{Intent, LastAttempt, SendError};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    client,
    script::{Script, Step, broken_off, problem, reply, status},
};

// proves: client-repeats-same-request
#[tokio::test]
async fn each_attempt_is_the_same_request_with_the_same_key() {
    let after_a_moment = [("Retry-After", "0")];
    let script = Script::start([
        Step::Close,
        broken_off(),
        status("408 Request Timeout"),
        status("425 Too Early"),
        status("429 Too Many Requests"),
        status("500 Internal Server Error"),
        status("502 Bad Gateway"),
        status("503 Service Unavailable"),
        status("504 Gateway Timeout"),
        status("524 Unknown"),
        reply("413 Content Too Large", &after_a_moment, ""),
        problem("400 Bad Request", "content_incomplete", &[]),
        problem("409 Conflict", "idempotency_in_progress", &[]),
        problem(
            "409 Conflict",
            "idempotency_key_incomparable",
            &after_a_moment,
        ),
        problem("500 Internal Server Error", "handler_failed", &[]),
        status("201 Created"),
    ])
    .await;
    let request = client()
        .post(&script.url)
        .bearer_auth("token")
        .header("X-Trace", "1")
        .json(&json!({ "room": 12 }));
    let response = client().send(&Intent::new(), request).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), 201);
    assert_eq!(response.attempts(), 16);
    let arrived = script.arrived();
    let first = &arrived[0];
    assert!(
        arrived.iter().all(|again| again.text == first.text),
        "{arrived:?}"
    );
    assert_eq!(arrived.len(), 16);
    assert!(first.text.contains("authorization: Bearer token"));
    assert!(first.text.ends_with(r#"{"room":12}"#));
    let key = first.key();
    let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"'));
    let key = key.expect("a key in quotes");
    let parts: Vec<_> = key.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{key}");
    assert!(key[14..].starts_with('4') && key[19..].starts_with(['8', '9', 'a', 'b']));
}

// proves: client-repeats-same-request
#[tokio::test]
async fn an_attempt_that_hangs_is_abandoned() {
    let script = Script::start([Step::Hang, status("201 Created")]).await;
    let client = client().with_attempt_timeout(Duration::from_millis(100));
    let response = client.send(&Intent::new(), client.post(&script.url)).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), 201);
    assert!(response.attempts() > 1);
}

#[tokio::test]
async fn a_timeout_of_the_request_is_that_of_its_attempts() {
    let script = Script::start([Step::Hang, status("201 Created")]).await;
    let client = client().with_attempt_timeout(Duration::from_secs(1000));
    let request = client.post(&script.url).timeout(Duration::from_millis(100));
    let response = client.send(&Intent::new(), request).await;
    assert_eq!(response.expect("a response").status(), 201);
}

// proves: client-repeats-same-request
#[tokio::test]
async fn a_service_that_is_down_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    drop(listener);
    let client = client().with_max_attempts(3);
    let sent = client.send(&Intent::new(), client.post(&url)).await;
    let Err(SendError::GaveUp(gave_up)) = sent else {
        panic!("{sent:?}");
    };
    assert_eq!(gave_up.attempts, 3);
    let LastAttempt::NoResponse(error) = gave_up.last else {
        panic!("{gave_up:?}");
    };
    assert!(error.is_connect(), "{error}");
    assert!(error.url().is_none(), "a URL may have a secret: {error}");
}

/// A retry would get a stored response again, whatever its status says.
// proves: client-stops-at-final
#[tokio::test]
async fn a_final_response_is_not_sent_again() {
    let expires = ("Idempotency-Expires", "Fri, 01 Jan 2100 00:00:00 GMT");
    let replayed = ("Idempotent-Replayed", "true");
    let after_a_moment = ("Retry-After", "0");
    let plain = [
        "200 OK",
        "204 No Content",
        "303 See Other",
        "400 Bad Request",
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "409 Conflict",
        "410 Gone",
        "422 Unprocessable Content",
        "501 Not Implemented",
        "505 HTTP Version Not Supported",
    ];
    let steps = plain.map(status).into_iter().chain([
        reply("409 Conflict", &[expires, after_a_moment], ""),
        reply("500 Internal Server Error", &[expires], ""),
        reply("503 Service Unavailable", &[replayed, after_a_moment], ""),
        problem(
            "500 Internal Server Error",
            "idempotency_misconfigured",
            &[],
        ),
    ]);
    let unavailable = status("503 Service Unavailable");
    for step in steps {
        let script = Script::start([step.clone(), unavailable.clone()]).await;
        let sent = client()
            .send(&Intent::new(), client().post(&script.url))
            .await;
        let response = sent.unwrap_or_else(|error| panic!("{step:?}: {error}"));
        assert_eq!(response.attempts(), 1, "{step:?}");
        assert_eq!(script.arrived().len(), 1, "{step:?}");
    }
}
