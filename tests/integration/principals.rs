//! Callers whom an extractor authenticates, on every request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Extension, Router,
    extract::{FromRequestParts, State},
    http::request::Parts,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header};
use idempotency::{Principal, Scope, idempotent};
use reqwest::Method;
use tests::reply::Reply;

use crate::{
    app::Probe,
    refusals::exchange,
    test_server::{BOOKING, TestServer},
};

pub(crate) fn routes() -> Router<Probe> {
    let named = post(book).layer(Extension(Scope::principal("everybody")));
    Router::new()
        .route("/claims", post(book))
        .route("/claims/unasked", post(book_without_asking))
        .route("/claims/outside", named)
}

/// Which token belongs to whom. A token can be revoked.
#[derive(Clone, Default)]
struct Sessions(Arc<Inner>);

#[derive(Default)]
struct Inner {
    subjects: Mutex<HashMap<&'static str, &'static str>>,
    looks: AtomicUsize,
}

impl Sessions {
    fn of(subjects: &[(&'static str, &'static str)]) -> Self {
        let sessions = Self::default();
        for (token, subject) in subjects {
            sessions.let_in(token, subject);
        }
        sessions
    }

    fn let_in(&self, token: &'static str, subject: &'static str) {
        let mut subjects = self.0.subjects.lock().expect("a lock");
        subjects.insert(token, subject);
    }

    fn revoke(&self, token: &str) {
        self.0.subjects.lock().expect("a lock").remove(token);
    }

    /// How often a token was looked up.
    fn looks(&self) -> usize {
        self.0.looks.load(Ordering::SeqCst)
    }
}

/// It is not `Clone`, and its extractor has a state.
struct Claims {
    subject: &'static str,
}

impl FromRequestParts<Probe> for Claims {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &Probe) -> Result<Self, Response> {
        let sessions = parts.extensions.get::<Sessions>().expect("sessions");
        sessions.0.looks.fetch_add(1, Ordering::SeqCst);
        let token = parts.headers.get(header::AUTHORIZATION);
        let token = token.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let subjects = sessions.0.subjects.lock().expect("a lock");
        match token.and_then(|token| subjects.get(token)) {
            Some(subject) => Ok(Self { subject }),
            None => {
                let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
                Err((StatusCode::UNAUTHORIZED, challenge, "who are you?").into_response())
            }
        }
    }
}

impl Principal for Claims {
    fn scope(&self) -> Scope {
        Scope::principal(self.subject)
    }
}

#[idempotent(ttl_seconds = 3600, principal = Claims)]
async fn book(State(probe): State<Probe>, claims: Claims, booking: String) -> String {
    format!("{} {} {booking}", probe.count(), claims.subject)
}

#[idempotent(ttl_seconds = 3600, principal = Claims)]
async fn book_without_asking(State(probe): State<Probe>) -> String {
    probe.count().to_string()
}

async fn server(sessions: &Sessions) -> TestServer {
    TestServer::wrapped(|app| app.layer(Extension(sessions.clone()))).await
}

fn ask(server: &TestServer, path: &str, token: &str, key: &str) -> reqwest::RequestBuilder {
    server
        .post(path, key, BOOKING)
        .header("authorization", format!("Bearer {token}"))
}

// proves: unauthorized-gets-no-replay, revoked-permission-blocks-replay, replay-skips-authorization
#[tokio::test]
async fn a_token_that_was_taken_away_gets_its_rejection_and_no_replay() {
    let sessions = Sessions::of(&[("a1", "ann")]);
    let server = server(&sessions).await;
    for path in ["/claims", "/claims/unasked"] {
        sessions.let_in("a1", "ann");
        let first = Reply::to(ask(&server, path, "a1", path)).await;
        first.assert_fresh(200);
        Reply::to(ask(&server, path, "a1", path))
            .await
            .assert_replays(&first);
        sessions.revoke("a1");
        let claims = server.faults.claim.calls();
        let refused = Reply::to(ask(&server, path, "a1", path)).await;
        refused.assert_fresh(401);
        assert_eq!(refused.text(), "who are you?");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        // Nor is a malformed key reported before it.
        let refused = Reply::to(ask(&server, path, "a1", "\"malformed")).await;
        refused.assert_fresh(401);
        assert_eq!(server.faults.claim.calls(), claims);
    }
    assert_eq!(server.probe.runs(), 2);
}

// proves: token-change-keeps-keys, principals-are-separate, cross-user-replay
// proves: token-rotation-changes-scope
#[tokio::test]
async fn a_caller_with_a_new_token_gets_the_response_of_the_old_one_and_no_other_caller_does() {
    let sessions = Sessions::of(&[("a1", "ann"), ("a2", "ann"), ("b1", "bob")]);
    let server = server(&sessions).await;
    let first = Reply::to(ask(&server, "/claims", "a1", "k")).await;
    first.assert_fresh(200);
    assert_eq!(first.text(), format!("1 ann {BOOKING}"));
    sessions.revoke("a1");
    Reply::to(ask(&server, "/claims", "a2", "k"))
        .await
        .assert_replays(&first);
    let other = Reply::to(ask(&server, "/claims", "b1", "k")).await;
    other.assert_fresh(200);
    assert_eq!(other.text(), format!("2 bob {BOOKING}"));
    // An outer layer's principal makes no difference: ann's key is hers on every route.
    let outside = Reply::to(ask(&server, "/claims/outside", "b1", "k")).await;
    outside.assert_problem("idempotency_key_reused");
}

// proves: extractor-refusals-free-key
#[tokio::test]
async fn who_was_refused_has_left_no_record_and_may_use_the_key() {
    let sessions = Sessions::default();
    let server = server(&sessions).await;
    Reply::to(ask(&server, "/claims", "a1", "k"))
        .await
        .assert_fresh(401);
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
    sessions.let_in("a1", "ann");
    Reply::to(ask(&server, "/claims", "a1", "k"))
        .await
        .assert_fresh(200);
}

// proves: revoked-permission-blocks-replay
#[tokio::test]
async fn a_caller_is_proved_once_a_request_with_a_key_and_without() {
    let sessions = Sessions::of(&[("a1", "ann")]);
    let server = server(&sessions).await;
    for looks in 1..=2 {
        Reply::to(ask(&server, "/claims", "a1", "k")).await;
        assert_eq!(sessions.looks(), looks);
    }
    let unprotected = |path: &str, token: &str| {
        server
            .request(Method::POST, path)
            .header("authorization", format!("Bearer {token}"))
    };
    for path in ["/claims", "/claims/unasked"] {
        let looks = sessions.looks();
        Reply::to(unprotected(path, "a1")).await.assert_fresh(200);
        Reply::to(unprotected(path, "b1")).await.assert_fresh(401);
        assert_eq!(sessions.looks(), looks + 2);
    }
}

// proves: unknown-scope-is-error
#[tokio::test]
async fn a_principal_without_a_name_is_a_mistake_of_the_service() {
    let sessions = Sessions::of(&[("a1", "")]);
    let server = server(&sessions).await;
    let refused = Reply::to(ask(&server, "/claims", "a1", "k")).await;
    refused.assert_problem("idempotency_misconfigured");
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
}

// proves: refusal-reaches-sending-client, revoked-permission-blocks-replay
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_is_not_let_in_and_writes_its_whole_body_first_reads_why() {
    let server = server(&Sessions::default()).await;
    for head in [
        "POST /claims HTTP/1.1\r\nidempotency-key: k\r\n",
        "POST /claims HTTP/1.1\r\n",
    ] {
        for _ in 0..5 {
            let response = exchange(server.connect().await, head).await;
            assert!(response.starts_with("HTTP/1.1 401"), "{response}");
            assert!(response.ends_with("who are you?"), "{response}");
        }
    }
}
