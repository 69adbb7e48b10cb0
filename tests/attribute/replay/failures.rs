//! Functions and values that fail.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Extension, Router,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{
    CommitError, Idempotency, IdempotencyKey, MemoryStore, ReplayWith, Scope, idempotent,
    operators::{KeyChange, StoredResponse},
    store::{IfOwner, Record, Resolution},
};

use tests::log::Log;

use super::SECRET;
use crate::support::{protected, send};

/// How often the handler ran, and the function.
#[derive(Clone, Default)]
struct Runs(Arc<[AtomicUsize; 2]>);

impl Runs {
    fn note(&self, index: usize) -> usize {
        self.0[index].fetch_add(1, Ordering::SeqCst) + 1
    }

    fn get(&self) -> [usize; 2] {
        [0, 1].map(|index| self.0[index].load(Ordering::SeqCst))
    }
}

#[idempotent(replay = fails)]
async fn create(Extension(runs): Extension<Runs>, _body: String) -> impl IntoResponse {
    runs.note(0);
    (ReplayWith(7_u64), SECRET)
}

/// Fails in another way each time it is called, and then succeeds.
async fn fails(Extension(runs): Extension<Runs>, ReplayWith(id): ReplayWith<u64>) -> Response {
    let marker = [("idempotent-replayed", "true")];
    match runs.note(1) {
        1 => (StatusCode::BAD_GATEWAY, marker, "no database").into_response(),
        2 => panic!("a mistake in the function"),
        3 => (StatusCode::FORBIDDEN, marker, "not any more").into_response(),
        4 => (StatusCode::CONFLICT, [(RETRY_AFTER, "1")], "locked").into_response(),
        5 => CommitError::Failed("it reads only".into()).into_response(),
        6 => pending().await,
        7 => (StatusCode::GONE, "revoked").into_response(),
        _ => id.to_string().into_response(),
    }
}

#[idempotent(replay = other_type)]
async fn create_as_number() -> impl IntoResponse {
    (ReplayWith(4711_u64), SECRET)
}

async fn other_type(ReplayWith(name): ReplayWith<String>) -> String {
    name
}

#[idempotent]
async fn stores(Extension(runs): Extension<Runs>) -> &'static str {
    runs.note(0);
    "stored"
}

#[idempotent(replay = fails)]
async fn rebuilds(Extension(runs): Extension<Runs>) -> (ReplayWith<u64>, &'static str) {
    runs.note(0);
    (ReplayWith(7), SECRET)
}

// proves: failed-rebuild-runs-nothing
#[tokio::test]
async fn a_function_that_fails_is_called_again_and_the_handler_is_not() {
    let runs = Runs::default();
    let routes = Router::new().route("/", post(create));
    let app = protected(routes).layer(Extension(runs.clone()));
    send(&app, "POST", "/", "k", "").await.assert_fresh(200);
    for (number, status, text) in [
        (1, 502, "no database"),
        (2, 500, "handler_failed"),
        (3, 403, "not any more"),
        (4, 409, "locked"),
        (5, 503, "commit_failed"),
    ] {
        let retry = send(&app, "POST", "/", "k", "").await;
        assert_eq!(retry.status.as_u16(), status, "{retry:?}");
        assert!(retry.text().contains(text), "{retry:?}");
        // A client takes a marked response for the last word.
        for field in ["idempotent-replayed", "idempotency-expires"] {
            assert_eq!(retry.header(field), None, "{retry:?}");
        }
        assert_eq!(runs.get(), [1, number]);
    }
    // It hangs, and its client leaves.
    let hangs = send(&app, "POST", "/", "k", "");
    assert!(futures_util::poll!(std::pin::pin!(hangs)).is_pending());
    assert_eq!(runs.get(), [1, 6]);

    let gone = send(&app, "POST", "/", "k", "").await;
    assert_eq!((gone.status(), gone.text()), ("410 Gone".into(), "revoked"));
    // The run has succeeded, so this is not its refusal, for which a client would take it with the marker.
    assert!(!gone.is_replay() && gone.header("idempotency-expires").is_none());
    let retry = send(&app, "POST", "/", "k", "").await;
    assert!(retry.is_replay());
    assert_eq!(retry.text(), "7");
    assert_eq!(runs.get(), [1, 8]);
}

// proves: failed-rebuild-runs-nothing, newer-record-fails-alone
#[tokio::test]
async fn a_value_of_another_type_is_an_error_and_never_a_run() {
    let (log, _logging) = Log::start();
    let app = protected(Router::new().route("/", post(create_as_number)));
    send(&app, "POST", "/", "k", "").await.assert_fresh(200);
    for _ in 0..2 {
        let retry = send(&app, "POST", "/", "k", "").await;
        retry.assert_problem("idempotency_response_unavailable");
        assert_eq!(retry.header("retry-after"), Some("1"));
    }
    let log = log.text();
    assert!(
        log.contains("is not of the type") && !log.contains("4711"),
        "{log}"
    );
}

// proves: rebuild-option-changes-nothing-stored, failed-rebuild-runs-nothing
#[tokio::test]
async fn a_record_is_replayed_as_it_was_stored_whatever_the_handler_says_now() {
    let runs = Runs::default();
    let engine = Idempotency::new(MemoryStore::new());
    let version = |routes: Router| routes.layer((engine.extension(), Extension(runs.clone())));
    let without = version(Router::new().route("/", post(stores)));
    let with = version(Router::new().route("/", post(rebuilds)));

    // It is turned on.
    let first = send(&without, "POST", "/", "old", "").await;
    send(&with, "POST", "/", "old", "")
        .await
        .assert_replays(&first);
    assert_eq!(runs.get(), [1, 0]);

    // It is turned off.
    send(&with, "POST", "/", "new", "").await.assert_fresh(200);
    let retry = send(&without, "POST", "/", "new", "").await;
    retry.assert_problem("idempotency_response_unavailable");
    assert_eq!(runs.get(), [2, 0]);
}

/// What this version does with a kind of a later one, one of the version before does with a value.
// proves: newer-record-fails-alone
#[tokio::test]
async fn a_kind_of_outcome_that_is_not_known_is_an_error_and_never_a_run() {
    let (app, engine, runs) = erasable();
    for (key, outcome) in [("kind", [1, 5, b'7']), ("version", [2, 4, b'7'])] {
        send(&app, "POST", "/", key, "").await.assert_fresh(200);
        let seen = record(&engine, key).await;
        let outcome = outcome.to_vec().into();
        let resolution = Resolution::Replace { outcome };
        let resolved = engine.resolve(&seen, resolution).await;
        assert_eq!(resolved.expect("a response"), IfOwner::Done(()));
        let retry = send(&app, "POST", "/", key, "").await;
        retry.assert_problem("idempotency_store_unavailable");
        assert_eq!(runs.get()[1], 0);
    }
    assert_eq!(runs.get(), [2, 0]);
}

// proves: key-state-shown, erased-response-never-runs, freed-key-runs-again, lost-key-resolved-as-seen
#[tokio::test]
async fn an_operator_reads_erases_frees_and_gives_a_value() {
    let (app, engine, runs) = erasable();
    let first = send(&app, "POST", "/", "k", "").await;
    first.assert_fresh(200);
    let seen = record(&engine, "k").await;
    let stored = engine.stored_response(&seen).expect("a readable record");
    assert!(
        matches!(&stored, StoredResponse::ReplayValue(json) if json.as_ref() == b"7"),
        "{stored:?}"
    );
    let value = engine.stored_value(&seen).expect("a readable record");
    assert_eq!(value, StoredResponse::ReplayValue("7".into()));

    let erased = engine.erase(&seen.id).await;
    assert_eq!(erased.expect("a response"), KeyChange::Made);
    let retry = send(&app, "POST", "/", "k", "").await;
    retry.assert_problem("idempotency_response_erased");
    assert_eq!(runs.get(), [1, 0]);

    // A response of the operator's, of which the value alone is stored.
    let given = (ReplayWith(8_u64), SECRET).into_response();
    let outcome = engine.outcome_of_response(given).await.expect("a body");
    assert_eq!(outcome.as_ref(), b"\x01\x048");

    let asked = engine.ask_to_free(&seen.id).await.expect("a response");
    let confirmation = asked.expect("a completed run").confirmation;
    let freed = engine.free(&seen.id, &confirmation).await;
    assert_eq!(freed.expect("a response"), KeyChange::Made);
    send(&app, "POST", "/", "k", "").await.assert_fresh(200);
    assert_eq!(runs.get(), [2, 0]);
}

fn erasable() -> (Router, Idempotency, Runs) {
    let (engine, runs) = (Idempotency::new(MemoryStore::new()), Runs::default());
    let routes = Router::new().route("/", post(create));
    let app = routes.layer((engine.extension(), Extension(runs.clone())));
    (app, engine, runs)
}

async fn record(engine: &Idempotency, key: &str) -> Record {
    let key = IdempotencyKey::new(key).expect("a key");
    let id = engine.record_id(&Scope::anonymous(), &key);
    let found = engine.store().inspect(&id).await;
    found.expect("a response").expect("a record")
}
