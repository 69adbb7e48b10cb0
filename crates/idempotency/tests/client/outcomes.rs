//! What the application is told.

use std::{
    future::ready,
    iter,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use idempotency::{
    Clock,
    client::{Intent, LastAttempt, Response, RetryingClient, SendError},
};
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use serde_json::{Value, json};

use crate::{
    client, http,
    script::{Script, Step, problem, reply, status},
};

async fn send(step: Step) -> Result<Response, SendError> {
    let script = Script::start([step]).await;
    let client = client().with_max_attempts(2);
    client.send(&Intent::new(), client.post(&script.url)).await
}

// proves: client-tells-outcomes-apart
#[tokio::test]
async fn a_replay_is_marked() {
    let first = send(reply("201 Created", &[], r#"{"id":7}"#))
        .await
        .expect("a response");
    assert!(!first.is_replayed());
    assert_eq!(first.json::<Value>().expect("JSON"), json!({ "id": 7 }));
    assert_eq!(first.expires_at(), None);
    let replayed = [("Idempotent-Replayed", "true"), ("X-Own", "1")];
    let again = send(reply("201 Created", &replayed, ""))
        .await
        .expect("a response");
    assert!(again.is_replayed());
    assert_eq!(again.headers()["x-own"], "1");
}

/// The service's clock may differ: its expiry counts from its own date.
#[tokio::test]
async fn an_expiry_is_told_by_the_clients_clock() {
    let fields = [
        ("Date", "Thu, 01 Jan 1998 00:00:00 GMT"),
        ("Idempotency-Expires", "Thu, 01 Jan 1998 01:00:00 GMT"),
    ];
    let script = Script::start([reply("201 Created", &fields, "")]).await;
    let clock = Clock::manual();
    let client = client().with_clock(clock.clone());
    let sent = client.send(&Intent::new(), client.post(&script.url)).await;
    let expires_at = sent.expect("a response").expires_at();
    assert_eq!(expires_at, Some(clock.wall() + Duration::from_secs(3600)));
}

// proves: client-tells-outcomes-apart
#[tokio::test]
async fn each_refusal_is_an_error_of_its_own() {
    let reused = problem("422 Unprocessable Content", "idempotency_key_reused", &[]);
    let sent = send(reused).await;
    assert!(matches!(&sent, Err(SendError::KeyReused(_))), "{sent:?}");

    let unknown = problem("409 Conflict", "idempotency_outcome_unknown", &[]);
    let sent = send(unknown).await;
    assert!(
        matches!(&sent, Err(SendError::OutcomeUnknown(_))),
        "{sent:?}"
    );

    let location = [("Location", "/bookings/7")];
    let not_stored = problem("409 Conflict", "idempotency_response_not_stored", &location);
    let Err(SendError::ResponseGone(response)) = send(not_stored).await else {
        panic!("the response is gone");
    };
    assert_eq!(response.headers()["location"], "/bookings/7");

    let erased = problem("410 Gone", "idempotency_response_erased", &[]);
    let sent = send(erased).await;
    assert!(matches!(&sent, Err(SendError::ResponseGone(_))), "{sent:?}");

    let running = problem(
        "409 Conflict",
        "idempotency_in_progress",
        &[("Retry-After", "0")],
    );
    let Err(SendError::GaveUp(gave_up)) = send(running).await else {
        panic!("it still runs");
    };
    assert!(
        matches!(gave_up.last, LastAttempt::InProgress(_)),
        "{gave_up:?}"
    );
    assert_eq!(gave_up.attempts, 2);
}

/// The service makes its own bodies for refusals, or a proxy replaces them.
// proves: client-tells-outcomes-apart
#[tokio::test]
async fn a_refusal_is_known_by_its_field_whatever_its_body() {
    let refusal = |status, code| {
        let fields = [("Idempotency-Problem", code), ("Content-Type", "text/html")];
        reply(status, &fields, "<h1>Error</h1>")
    };
    let reused = refusal("422 Unprocessable Content", "idempotency_key_reused");
    let sent = send(reused).await;
    assert!(matches!(&sent, Err(SendError::KeyReused(_))), "{sent:?}");
    let unknown = refusal("409 Conflict", "idempotency_outcome_unknown");
    let sent = send(unknown).await;
    let is_unknown = matches!(&sent, Err(SendError::OutcomeUnknown(_)));
    assert!(is_unknown, "{sent:?}");
    // The application may have chosen its status, too.
    let gone = refusal("200 OK", "idempotency_response_not_stored");
    let sent = send(gone).await;
    assert!(matches!(&sent, Err(SendError::ResponseGone(_))), "{sent:?}");
    let Err(SendError::GaveUp(gave_up)) = send(refusal("200 OK", "idempotency_in_progress")).await
    else {
        panic!("it still runs");
    };
    let is_running = matches!(gave_up.last, LastAttempt::InProgress(_));
    assert!(is_running, "{gave_up:?}");
}

/// The first attempt may have taken effect, and what refuses the second one does not know that.
// proves: client-tells-outcomes-apart, client-stops-at-final
#[tokio::test]
async fn a_refusal_after_an_attempt_that_may_have_arrived_is_no_response() {
    let stored = [("Idempotency-Expires", "Fri, 01 Jan 2100 00:00:00 GMT")];
    for refusal in [
        "401 Unauthorized",
        "403 Forbidden",
        "404 Not Found",
        "302 Found",
        "307 Temporary Redirect",
        "413 Content Too Large",
        "422 Unprocessable Content",
        "501 Not Implemented",
    ] {
        for unknown in [Step::Close, status("502 Bad Gateway")] {
            let script = Script::start([
                unknown,
                status(refusal),
                reply("422 Unprocessable Content", &stored, ""),
            ])
            .await;
            let intent = Intent::new();
            let sent = client().send(&intent, client().post(&script.url)).await;
            let Err(SendError::RetryRefused(response)) = sent else {
                panic!("{refusal}: {sent:?}");
            };
            assert!(refusal.starts_with(response.status().as_str()));
            // The same request under the same intent gets what is stored, which is the operation's response.
            let sent = client().send(&intent, client().post(&script.url)).await;
            assert_eq!(sent.expect("a response").status(), 422);
            let keys = script.keys();
            assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        }
    }
}

/// Finds the service's address with the second question only.
struct LateAddress {
    address: SocketAddr,
    questions: AtomicUsize,
}

impl Resolve for LateAddress {
    fn resolve(&self, _: Name) -> Resolving {
        let is_found = self.questions.fetch_add(1, Ordering::SeqCst) > 0;
        let addresses: Addrs = Box::new(iter::once(self.address));
        Box::pin(ready(
            is_found.then_some(addresses).ok_or("no address".into()),
        ))
    }
}

/// Without a connection nothing was sent.
// proves: client-tells-outcomes-apart
#[tokio::test]
async fn a_refusal_after_attempts_that_cannot_have_arrived_is_the_response() {
    let script = Script::start([status("403 Forbidden")]).await;
    let url = Url::parse(&script.url).expect("a URL");
    let names = LateAddress {
        address: url.socket_addrs(|| None).expect("an address")[0],
        questions: AtomicUsize::new(0),
    };
    let http = http().dns_resolver(Arc::new(names));
    let client = RetryingClient::new(http).expect("a client");
    let client = client.with_backoff(Duration::ZERO, Duration::ZERO);
    let url = format!("http://service.test:{}/", url.port().expect("a port"));
    let sent = client.send(&Intent::new(), client.post(url)).await;
    let response = sent.expect("a response");
    assert_eq!((response.status().as_u16(), response.attempts()), (403, 2));
}

/// A handler may pass on the problem of another service. The marker says that it is this operation's response.
// proves: client-tells-outcomes-apart
#[tokio::test]
async fn a_stored_response_is_never_taken_for_a_refusal() {
    let replayed = [("Idempotent-Replayed", "true")];
    let passed_on = problem(
        "422 Unprocessable Content",
        "idempotency_key_reused",
        &replayed,
    );
    assert_eq!(send(passed_on).await.expect("a response").status(), 422);
    let json = [("Content-Type", "application/json")];
    let not_a_problem = reply(
        "409 Conflict",
        &json,
        r#"{"code":"idempotency_outcome_unknown"}"#,
    );
    assert_eq!(send(not_a_problem).await.expect("a response").status(), 409);
}

/// A new key would let the operation happen a second time.
// proves: client-tells-outcomes-apart
#[tokio::test]
async fn no_refusal_makes_a_new_key() {
    let script = Script::start([
        problem("422 Unprocessable Content", "idempotency_key_reused", &[]),
        problem("409 Conflict", "idempotency_outcome_unknown", &[]),
        status("503 Service Unavailable"),
        status("201 Created"),
    ])
    .await;
    let intent = Intent::new();
    for _ in 0..2 {
        let sent = client().send(&intent, client().post(&script.url)).await;
        sent.expect_err("a refusal");
    }
    let sent = client().send(&intent, client().post(&script.url)).await;
    assert_eq!(sent.expect("a response").status(), 201);
    let keys = script.keys();
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}
