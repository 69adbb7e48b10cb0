//! Commits that are refused: for the other kind of outcome, a second one, or one in another database.

use axum::{Extension, Router, body::Body, response::Response, routing::post};
use http::{Request, StatusCode};
use idempotency::{
    CommitError, Execution, Idempotency, MemoryStore, Options, Run, RunError, SqliteDatabase,
    SqliteStore, idempotent, options::RunMode, store::Transaction,
};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::execute;

const TRANSACTIONAL: Options = Options::new().mode(RunMode::Transactional);

async fn database() -> (SqliteDatabase, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = SqliteDatabase::open(folder.path().join("bookings.db")).expect("a file");
    let created = database.write(|connection| connection.execute("create table bookings (n)", ()));
    created.await.expect("a table");
    (database, folder)
}

fn booking(database: &SqliteDatabase) -> impl Transaction<Value = usize> + use<> {
    database.transaction(|connection| connection.execute("insert into bookings values (1)", ()))
}

async fn bookings(database: &SqliteDatabase) -> u32 {
    let count = database.read(|connection| {
        connection.query_row("select count(*) from bookings", (), |row| row.get(0))
    });
    count.await.expect("a number")
}

#[track_caller]
fn assert_misused<T: std::fmt::Debug>(committed: &Result<T, CommitError>) {
    assert!(
        matches!(committed, Err(CommitError::Misused(_))),
        "{committed:?}"
    );
}

// proves: rows-and-key-commit-together
#[tokio::test]
async fn work_commits_its_own_value_once_and_no_response() {
    let (database, _folder) = database().await;
    let idempotency = Idempotency::new(SqliteStore::new(database.clone()).expect("a store"));
    let here = database.clone();
    let run = execute(
        &idempotency,
        &TRANSACTIONAL,
        async move |execution: Execution| {
            let response = execution.commit(booking(&here), StatusCode::CREATED).await;
            assert_misused(&response);
            let value = execution.commit_value(booking(&here), 1).await;
            let second = execution.commit_value(booking(&here), 2).await;
            assert_misused(&second);
            value
        },
    );
    assert_eq!(run.await.ok(), Some(Run::Executed(1)));
    assert_eq!(bookings(&database).await, 1);
}

// proves: rows-and-key-commit-together
#[tokio::test]
async fn transactional_work_commits_nothing_in_another_database() {
    let (database, _folder) = database().await;
    let idempotency = Idempotency::new(MemoryStore::new());
    let insert = booking(&database);
    let run = execute(
        &idempotency,
        &TRANSACTIONAL,
        async move |execution: Execution| execution.commit_value(insert, 1).await,
    );
    let Err(RunError::Failed(error)) = run.await else {
        panic!("it was committed");
    };
    assert_misused(&Err::<(), _>(error));
    assert_eq!(bookings(&database).await, 0);
}

#[idempotent(transactional)]
async fn book(
    Extension(database): Extension<SqliteDatabase>,
    execution: Execution,
) -> Result<Response, CommitError> {
    let value = execution.commit_value(booking(&database), 1).await;
    assert_misused(&value);
    value.map(|_| Response::default())
}

// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_handler_commits_no_value() {
    let (database, _folder) = database().await;
    let store = SqliteStore::new(database.clone()).expect("a store");
    let app = Router::new()
        .route("/", post(book))
        .layer(Extension(database.clone()))
        .layer(Extension(Idempotency::new(store)));
    let request = Request::post("/").header("idempotency-key", "k");
    let request = request.body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("a response");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(bookings(&database).await, 0);
}
