//! Runs that commit, lose their key, or are waited for.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{
    Execution, Idempotency, IdempotencyKey, MemoryStore, ReplayWith, Scope, SqliteDatabase,
    SqliteStore, idempotent,
    operators::StoredResponse,
    store::{IfOwner, Resolution},
};
use tests::wait::within_a_minute;
use tokio::sync::Semaphore;

use super::{Claims, Id, Minted, SECRET, Tokens, VALUE, outcomes};
use crate::support::send;

/// Where a handler says that it has begun, and waits.
#[derive(Clone)]
struct Gate(Arc<[Semaphore; 2]>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new([Semaphore::new(0), Semaphore::new(0)]))
    }
}

impl Gate {
    async fn pass(&self) {
        self.0[0].add_permits(1);
        self.0[1].acquire().await.expect("a gate").forget();
    }

    async fn begun(&self) {
        let begun = within_a_minute("a handler that begins", self.0[0].acquire());
        begun.await.expect("a gate").forget();
    }

    fn open(&self) {
        self.0[1].add_permits(1);
    }
}

#[idempotent(
    transactional,
    replay = show(State<Tokens>, ReplayWith<Id>)
)]
async fn commit(
    State(tokens): State<Tokens>,
    Extension(database): Extension<SqliteDatabase>,
    execution: Execution,
    what: String,
) -> Response {
    if what == "refuse" {
        tokens.mint();
        return (StatusCode::CONFLICT, "no room").into_response();
    }
    let nothing = database.transaction(|_| Ok(()));
    let committed = match what.as_str() {
        "forget" => execution.commit(nothing, SECRET).await,
        "late" => {
            execution
                .commit_then(nothing, move |()| tokens.mint())
                .await
        }
        _ => execution.commit(nothing, tokens.mint()).await,
    };
    match what.as_str() {
        "hide" => (StatusCode::BAD_GATEWAY, "the mail was not sent").into_response(),
        _ => committed.into_response(),
    }
}

async fn show(State(tokens): State<Tokens>, ReplayWith(id): ReplayWith<Id>) -> String {
    tokens.show(&id)
}

#[idempotent(principal = Claims, on_duplicate = "wait", replay = show_mine(State<Tokens>, Claims, ReplayWith<Id>))]
async fn stop(_: Claims, State(tokens): State<Tokens>, Extension(gate): Extension<Gate>) -> Minted {
    gate.pass().await;
    tokens.mint()
}

async fn show_mine(
    State(tokens): State<Tokens>,
    Claims(subject): Claims,
    ReplayWith(id): ReplayWith<Id>,
) -> String {
    format!("{} for {subject}", tokens.show(&id))
}

// proves: rebuilt-response-not-stored, rows-and-key-commit-together
#[tokio::test]
async fn a_commit_stores_the_value_with_its_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = SqliteDatabase::open(folder.path().join("rows.db")).expect("a database");
    let engine = Idempotency::new(SqliteStore::new(database.clone()).expect("a store"));
    let tokens = Tokens::named("ann");
    let app = Router::new()
        .route("/", post(commit))
        .with_state(tokens.clone())
        .layer((Extension(database), engine.extension()));
    for (what, status, first, again, told) in [
        ("commit", 201, SECRET, 200, "token 1 of ann"),
        ("late", 201, SECRET, 200, "token 2 of ann"),
        ("refuse", 409, "no room", 409, "no room"),
        ("hide", 503, "response_unavailable", 200, "token 4 of ann"),
        ("forget", 200, SECRET, 409, "response_not_stored"),
    ] {
        let response = send(&app, "POST", "/", what, what).await;
        assert_eq!(response.status.as_u16(), status, "{what}: {response:?}");
        assert!(response.text().contains(first), "{what}: {response:?}");
        assert!(!response.is_replay(), "{what}");
        let retry = send(&app, "POST", "/", what, what).await;
        assert_eq!(retry.status.as_u16(), again, "{what}: {retry:?}");
        assert!(retry.text().contains(told), "{what}: {retry:?}");
        assert_eq!(retry.is_replay(), what != "forget", "{what}: {retry:?}");
    }
    assert_eq!(tokens.counts(), (4, 3));
    let outcomes = outcomes(&engine).await;
    let values = outcomes.iter().filter(|outcome| outcome[..2] == VALUE);
    assert_eq!((outcomes.len(), values.count()), (5, 3));
    let whole = outcomes.concat();
    assert!(!String::from_utf8_lossy(&whole).contains(SECRET));
}

// proves: duplicate-may-wait, rebuilt-response-not-stored
#[tokio::test]
async fn a_duplicate_that_waits_gets_a_rebuilt_response() {
    let (app, _, tokens, gate) = stopping();
    let requests = [(); 2].map(|()| {
        let app = app.clone();
        tokio::spawn(async move { send(&app, "POST", "/", "k", "").await })
    });
    gate.begun().await;
    gate.open();
    let mut told = Vec::new();
    for request in requests {
        let reply = within_a_minute("a response", request)
            .await
            .expect("no panic");
        told.push((reply.is_replay(), reply.text().to_owned()));
    }
    told.sort();
    assert_eq!(told[0], (false, SECRET.to_owned()));
    assert_eq!(told[1], (true, "token 1 of ann for ann".to_owned()));
    assert_eq!(tokens.counts(), (1, 1));
}

/// The handler has taken the principal's value by then, so it is verified once more.
// proves: lost-lease-stores-nothing, rebuilt-response-not-stored
#[tokio::test]
async fn the_client_of_a_run_that_lost_its_key_gets_a_rebuilt_response() {
    let (app, engine, tokens, gate) = stopping();
    let run = tokio::spawn({
        let app = app.clone();
        async move { send(&app, "POST", "/", "k", "").await }
    });
    gate.begun().await;
    let key = IdempotencyKey::new("k").expect("a key");
    let id = engine.record_id(&Scope::principal("ann"), &key);
    let seen = engine.store().inspect(&id).await;
    let seen = seen.expect("a response").expect("a record");
    let given = (ReplayWith(Id { number: 9 }), SECRET).into_response();
    let outcome = engine.outcome_of_response(given).await.expect("a body");
    let ttl = Duration::from_secs(60);
    let resolution = Resolution::Complete { outcome, ttl };
    let resolved = engine.resolve(&seen, resolution).await;
    assert_eq!(resolved.expect("a response"), IfOwner::Done(()));
    gate.open();
    let reply = within_a_minute("a response", run).await.expect("no panic");
    assert!(reply.is_replay(), "{reply:?}");
    assert_eq!(reply.text(), "token 9 of ann for ann");
    assert_eq!(tokens.counts(), (1, 1));
    let stored = engine.store().inspect(&id).await;
    let stored = stored.expect("a response").expect("a record");
    let stored = engine.stored_value(&stored).expect("a readable record");
    let expected = StoredResponse::ReplayValue(r#"{"number":9}"#.into());
    assert_eq!(stored, expected);
}

fn stopping() -> (Router, Idempotency, Tokens, Gate) {
    let (tokens, gate) = (Tokens::named("ann"), Gate::default());
    let engine = Idempotency::new(MemoryStore::new());
    let app = Router::new()
        .route("/", post(stop))
        .with_state(tokens.clone())
        .layer((Extension(gate.clone()), engine.extension()));
    (app, engine, tokens, gate)
}
