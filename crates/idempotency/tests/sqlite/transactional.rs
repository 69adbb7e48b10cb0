//! Transactional runs, and how long they own their keys.

use std::time::Duration;

use axum::{
    Extension, Router,
    body::Body,
    http::{Request, StatusCode},
    response::Response,
    routing::post,
};
use idempotency::{
    Clock, CommitError, Execution, Idempotency, MemoryStore, SqliteDatabase, SqliteStore,
    idempotent,
};
use tokio::sync::mpsc;
use tower::ServiceExt;

/// Tells the test that a run has begun, and sends it the channel that lets the run continue.
type Begun = mpsc::UnboundedSender<mpsc::UnboundedSender<()>>;

#[idempotent(ttl_seconds = 3600, transactional)]
async fn book(
    Extension(database): Extension<SqliteDatabase>,
    Extension(begun): Extension<Begun>,
    execution: Execution,
) -> Result<Response, CommitError> {
    let (go_on, mut may_go_on) = mpsc::unbounded_channel();
    begun.send(go_on).expect("the test waits");
    may_go_on.recv().await.expect("a word");
    let insert = database
        .transaction(|connection| connection.execute("insert into bookings default values", ()));
    execution.commit(insert, StatusCode::CREATED).await
}

// proves: hold-lives-by-renewal, crash-locks-for-ttl
#[tokio::test]
async fn a_run_that_hung_for_a_day_commits_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let database = store.database().clone();
    database
        .write(|connection| {
            connection.execute_batch("create table bookings (id integer primary key)")
        })
        .await
        .expect("a table");
    let (begun, mut runs): (Begun, _) = mpsc::unbounded_channel();
    let app = Router::new()
        .route("/", post(book))
        .layer(Extension(begun))
        .layer(Extension(database.clone()))
        .layer(Extension(Idempotency::new(store)));
    let send = || {
        let request = Request::post("/").header("idempotency-key", "k");
        let request = request.body(Body::empty()).expect("a request");
        tokio::spawn(app.clone().oneshot(request))
    };
    let hanging = send();
    let first = runs.recv().await.expect("a run");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(24 * 60 * 60)).await;
    tokio::time::resume();
    first.send(()).expect("it waits");
    let refused = hanging.await.expect("no panic").expect("a response");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let next = send();
    let second = runs.recv().await.expect("a run");
    second.send(()).expect("it waits");
    let next = next.await.expect("no panic").expect("a response");
    assert_eq!(next.status(), StatusCode::CREATED);
    let bookings = database
        .read(|connection| {
            connection.query_row("select count(*) from bookings", (), |row| {
                row.get::<_, u32>(0)
            })
        })
        .await
        .expect("a count");
    assert_eq!(bookings, 1);
}

#[idempotent(ttl_seconds = 600, transactional)]
async fn pay(
    Extension(database): Extension<SqliteDatabase>,
    execution: Execution,
) -> Result<Response, CommitError> {
    let nothing = database.transaction(|_| Ok(()));
    execution.commit(nothing, StatusCode::CREATED).await
}

// proves: last-second-replayed, record-gone-last-second
#[tokio::test]
async fn a_committed_response_is_kept_longer_than_is_announced() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual();
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let store = store.with_clock(clock.clone());
    let app = Router::new()
        .route("/", post(pay))
        .layer(Extension(store.database().clone()))
        .layer(Extension(Idempotency::new(store)));
    let send = async || {
        let request = Request::post("/").header("idempotency-key", "k");
        let request = request.body(Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("a response");
        assert_eq!(response.status(), StatusCode::CREATED);
        let headers = response.headers();
        let is_replay = headers.contains_key("idempotent-replayed");
        (is_replay, headers["idempotency-expires"].clone())
    };
    let until = httpdate::fmt_http_date(clock.now() + Duration::from_secs(600));
    let (is_replay, announced) = send().await;
    assert!(!is_replay);
    assert_eq!(announced, until);
    clock.advance(Duration::from_millis(659_999));
    assert_eq!(send().await, (true, announced));
    clock.advance(Duration::from_millis(1));
    assert!(!send().await.0);
}

/// Drops its commit while it is in flight.
#[idempotent(ttl_seconds = 600)]
async fn give_up(
    Extension(database): Extension<SqliteDatabase>,
    execution: Execution,
) -> Result<Response, CommitError> {
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let waits = database.transaction(move |_| {
        may_go_on.recv().unwrap_or_default();
        Ok(())
    });
    let mut commit = Box::pin(execution.commit(waits, StatusCode::CREATED));
    tokio::select! {
        biased;
        committed = &mut commit => committed,
        () = std::future::ready(()) => {
            drop((commit, go_on));
            Err(CommitError::Unknown("the handler has no time".into()))
        }
    }
}

// proves: failed-completion-keeps-key, mismatch-gets-409
#[tokio::test]
async fn a_commit_without_a_record_is_not_said_to_happen_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = SqliteDatabase::open(folder.path().join("bookings.db")).expect("a database");
    let app = Router::new()
        .route("/", post(give_up))
        .layer(Extension(database))
        .layer(Extension(Idempotency::new(MemoryStore::new())));
    let request = Request::post("/").header("idempotency-key", "k");
    let request = request.body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("a response");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = axum::body::to_bytes(response.into_body(), 10_000).await;
    let problem: serde_json::Value =
        serde_json::from_slice(&body.expect("a body")).expect("a problem");
    assert_eq!(problem["code"], "idempotency_commit_unknown");
    let detail = problem["detail"].as_str().expect("a text");
    assert!(detail.contains("may run it again"), "{detail}");
    assert!(!detail.contains("exactly once"), "{detail}");
}

/// The work changes what the store has written, which no work should do.
#[idempotent(ttl_seconds = 3600, transactional)]
async fn displace(
    Extension(database): Extension<SqliteDatabase>,
    execution: Execution,
) -> Result<Response, CommitError> {
    let work = database.transaction(|connection| {
        connection.execute("insert into bookings default values", ())?;
        connection.execute("update idempotency_records set id = randomblob(32)", ())
    });
    execution.commit(work, StatusCode::CREATED).await
}

/// While the secret is changed, such a run holds its key, so its record is there before its work.
// proves: rows-and-key-commit-together
#[tokio::test]
async fn an_outcome_is_not_written_into_the_record_of_another_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let database = store.database().clone();
    let create = "create table bookings (id integer primary key)";
    let created = database.write(move |connection| connection.execute_batch(create));
    created.await.expect("a table");
    let idempotency = Idempotency::builder(store)
        .with_secret(&[1; 32])
        .with_previous_secret(&[2; 32])
        .build();
    let app = Router::new()
        .route("/", post(displace))
        .layer(Extension(database.clone()))
        .layer(Extension(idempotency));
    let request = Request::post("/").header("idempotency-key", "k");
    let request = request.body(Body::empty()).expect("a request");
    let refused = app.oneshot(request).await.expect("a response");
    assert!(refused.status().is_server_error(), "{refused:?}");
    let count = "select count(*) from bookings";
    let booked = database.read(move |connection| connection.query_row(count, (), |row| row.get(0)));
    assert_eq!(booked.await.ok(), Some(0));
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn add_a_record(
    Extension(database): Extension<SqliteDatabase>,
    execution: Execution,
) -> Result<Response, CommitError> {
    let work = database.transaction(|connection| {
        connection.execute("insert into bookings default values", ())?;
        let add = "
            insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase)
            values (randomblob(32), x'', x'', 1, 1, 1)
        ";
        connection.execute(add, ())
    });
    execution.commit(work, StatusCode::CREATED).await
}

/// SQLite gives the work's row the place that the key's record would have had.
// proves: rows-and-key-commit-together
#[tokio::test]
async fn work_that_adds_a_record_is_committed_with_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let database = store.database().clone();
    let create = "create table bookings (id integer primary key)";
    let created = database.write(move |connection| connection.execute_batch(create));
    created.await.expect("a table");
    let app = Router::new()
        .route("/", post(add_a_record))
        .layer(Extension(database.clone()))
        .layer(Extension(Idempotency::new(store)));
    for key in ["one", "other", "one", "other"] {
        let request = Request::post("/").header("idempotency-key", key);
        let request = request.body(Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.expect("a response");
        assert_eq!(response.status(), StatusCode::CREATED, "{response:?}");
    }
    let count = "select count(*) from bookings";
    let booked = database.read(move |connection| connection.query_row(count, (), |row| row.get(0)));
    assert_eq!(booked.await.ok(), Some(2));
}
