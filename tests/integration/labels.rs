//! What an operator finds a key by: the route of its request, and a label of the application's own.

use axum::{Router, extract::State, middleware::map_request, routing::post};
use http::StatusCode;
use idempotency::{
    Idempotency, IdempotencyKey, IdempotencyLayer, Label, Scope, idempotent,
    store::{ListRequest, Record},
};
use tests::reply::Reply;

use crate::{app::Probe, test_server::TestServer};

/// A customer's name, with characters that SQL, JSON and URLs could misread.
const CUSTOMER: &str = r#"O'Brien "&" Søns 💶 \ %_"#;

pub(crate) fn routes(idempotency: &Idempotency) -> Router<Probe> {
    let api = Router::new()
        .route("/bookings/{id}/pay", post(pay))
        .layer(map_request(label));
    let layered = post(pay_under_a_layer)
        .layer(IdempotencyLayer::new(idempotency.clone()))
        .layer(map_request(label));
    Router::new().nest("/api", api).route("/paid/{id}", layered)
}

#[idempotent(ttl_seconds = 3600)]
async fn pay(State(probe): State<Probe>) -> StatusCode {
    pay_under_a_layer(State(probe)).await
}

async fn pay_under_a_layer(State(probe): State<Probe>) -> StatusCode {
    probe.count();
    StatusCode::CREATED
}

/// What an authentication layer that knows the customer would do.
async fn label(mut request: axum::extract::Request) -> axum::extract::Request {
    let scope = Scope::principal("Ann");
    let asked = request.headers().get("x-label");
    let scope = match asked.and_then(|asked| asked.to_str().ok()) {
        Some("text") => scope.labelled(Label::text(CUSTOMER)),
        Some("digest") => scope.labelled(Label::digest(CUSTOMER)),
        Some(other) => scope.labelled(Label::text(other)),
        None => scope,
    };
    request.extensions_mut().insert(scope);
    request
}

/// Pays under this key, which also selects the label.
async fn send(server: &TestServer, path: &str, key: &str) -> Reply {
    let request = server.post(path, key, "{}");
    Reply::to(match key {
        "none" => request,
        _ => request.header("x-label", key),
    })
    .await
}

/// The one record with this label.
async fn found(server: &TestServer, label: &str) -> Record {
    let request = ListRequest::new(10).labelled(label);
    let listed = server.idempotency.store().list(&request).await;
    let mut records: Vec<_> = listed
        .expect("a list")
        .into_iter()
        .map(|listed| listed.record.expect("a record"))
        .collect();
    assert_eq!(records.len(), 1, "{label}: {records:?}");
    records.remove(0)
}

#[tokio::test]
async fn an_operator_finds_a_key_by_its_label_and_sees_its_route() {
    for (prefix, suffix, route) in [
        ("/api/bookings", "/pay", "POST /api/bookings/{id}/pay"),
        ("/paid", "", "POST /paid/{id}"),
    ] {
        let server = TestServer::new().await;
        let path = |id| format!("{prefix}/{id}{suffix}");
        for (id, key) in ["text", "digest", "customer-8", "none"].iter().enumerate() {
            let response = send(&server, &path(id), key).await;
            response.assert_fresh(201);
        }
        let id = |key| {
            let key = IdempotencyKey::new(key).expect("a key");
            server.idempotency.record_id(&Scope::principal("Ann"), &key)
        };
        let text = server.idempotency.label_text(&Label::text(CUSTOMER));
        let digest = server.idempotency.label_text(&Label::digest(CUSTOMER));
        assert_eq!(&*text, CUSTOMER);
        assert!(!digest.contains("Brien"), "{digest}");
        for (key, label) in [
            ("text", &*text),
            ("digest", &*digest),
            ("customer-8", "customer-8"),
        ] {
            let record = found(&server, label).await;
            assert_eq!(record.id, id(key));
            assert_eq!(record.labels.label(), Some(label));
            assert_eq!(record.labels.route(), Some(route));
            assert!(record.completed_at >= record.created_at, "{record:?}");
            assert!(record.created_at.is_some(), "{record:?}");
        }
        let unlabelled = server.idempotency.store().inspect(&id("none")).await;
        let unlabelled = unlabelled.expect("an inspection").expect("a record");
        assert_eq!(unlabelled.labels.route(), Some(route));
        assert_eq!(unlabelled.labels.label(), None);

        // A retry by a customer whose name has changed is the same request, and leaves the record's label as it is.
        let retry = server.post(&path(0), "text", "{}");
        let retry = Reply::to(retry.header("x-label", "renamed")).await;
        assert!(retry.is_replay(), "{retry:?}");
        assert_eq!(found(&server, &text).await.id, id("text"));
    }
}
