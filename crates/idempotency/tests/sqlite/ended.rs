//! Work that ends the surrounding transaction, and reports success.

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    response::Response,
    routing::post,
};
use idempotency::{CommitError, Execution, Idempotency, idempotent, store::ListRequest};
use tower::ServiceExt;

use super::*;

/// What the statements do to the transaction, and the statements. Their errors are ignored.
const WAYS: [(&str, &str); 10] = [
    (
        "a conflict that rolls back",
        "insert or rollback into bookings values ('Ann')",
    ),
    (
        "a trigger that rolls back",
        "insert into bookings values ('nobody')",
    ),
    (
        "a disk that is full",
        "insert into heap values (zeroblob(1000000))",
    ),
    ("a rollback", "rollback"),
    ("a commit", "commit"),
    ("a rollback and a beginning", "rollback; begin"),
    ("a commit and a beginning", "commit; begin"),
    (
        "a rollback, a beginning and a forged savepoint",
        "rollback; begin; savepoint idempotency_job",
    ),
    ("a released savepoint", "release idempotency_job"),
    (
        "a released savepoint and a commit",
        "release idempotency_job; commit",
    ),
];

/// Books Bob before and Cid after these statements, and ignores their errors.
fn swallow(connection: &Connection, statements: &str) {
    for statements in [
        "insert into bookings values ('Bob')",
        statements,
        "insert into bookings values ('Cid')",
    ] {
        drop(connection.execute_batch(statements));
    }
}

/// A database in which Ann has booked, with a trigger, and with room for some more bookings.
async fn trapped(folder: &Folder) -> SqliteDatabase {
    let database = with_bookings(&folder.file()).await;
    let trapped = database.write(|connection| {
        book(connection, "Ann")?;
        connection.execute_batch(
            "create table heap (bytes blob);
             create trigger trap before insert on bookings when new.customer = 'nobody'
             begin select raise(rollback, 'a trap'); end",
        )
    });
    trapped.await.expect("a trap");
    database
}

async fn limit(database: &SqliteDatabase) {
    let limited = database.write(|connection| {
        let pages: i64 = connection.query_row("pragma page_count", (), |row| row.get(0))?;
        let limit = format!("pragma max_page_count = {}", pages + 10);
        connection.query_row(&limit, (), |row| row.get::<_, i64>(0))
    });
    limited.await.expect("a limit");
}

// proves: ended-transaction-passes-commit
#[tokio::test]
async fn what_ends_the_transaction_undoes_all_of_it_and_every_caller_learns_it() {
    for (way, statements) in WAYS {
        let folder = Folder::new();
        let database = trapped(&folder).await;
        limit(&database).await;
        let go_on = hold_up(&database).await;
        let mut innocent = pin!(database.write(|connection| book(connection, "Dan")));
        let mut guilty = pin!(database.write(|connection| {
            swallow(connection, statements);
            Ok(())
        }));
        let mut next = pin!(database.write(|connection| {
            assert!(!connection.is_autocommit(), "nothing would be undone");
            book(connection, "Eve")
        }));
        begin(innocent.as_mut()).await;
        begin(guilty.as_mut()).await;
        begin(next.as_mut()).await;
        drop(go_on);
        for lost in [innocent.await, guilty.await] {
            let certain = matches!(lost, Err(SqliteStoreError::RolledBack(_)));
            assert!(certain, "{way}: {lost:?}");
        }
        next.await
            .unwrap_or_else(|error| panic!("{way}: {error:?}"));
        let customers = database.read(booked).await.expect("a read");
        assert_eq!(customers, ["Ann", "Eve"], "{way}");
    }
}

#[tokio::test]
async fn work_that_says_why_the_transaction_ended_gives_the_others_its_reason() {
    let folder = Folder::new();
    let database = trapped(&folder).await;
    let go_on = hold_up(&database).await;
    let mut innocent = pin!(database.write(|connection| book(connection, "Dan")));
    let mut guilty = pin!(database.write(|connection| book(connection, "nobody")));
    begin(innocent.as_mut()).await;
    begin(guilty.as_mut()).await;
    drop(go_on);
    let guilty = guilty.await.expect_err("a trap");
    assert!(matches!(guilty, SqliteStoreError::Work(_)), "{guilty:?}");
    match innocent.await {
        Err(SqliteStoreError::RolledBack(cause)) => assert_eq!(cause.to_string(), "a trap"),
        other => panic!("it was undone, and not {other:?}"),
    }
    let customers = database.read(booked).await.expect("a read");
    assert_eq!(customers, ["Ann"]);
}

/// Work that fails after its own savepoint is rolled back as a whole, whatever the savepoint's name.
#[tokio::test]
async fn a_savepoint_that_work_leaves_open_hides_nothing_of_it() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    for savepoint in ["job", "work", "a"] {
        let failing = database.write(move |connection| {
            book(connection, "Ann")?;
            connection.execute_batch(&format!("savepoint {savepoint}"))?;
            connection.execute_batch("no statement")
        });
        let failed = failing.await.expect_err("it is not a statement");
        assert!(matches!(failed, SqliteStoreError::Work(_)), "{failed:?}");
    }
    let customers = database.read(booked).await.expect("a read");
    assert!(customers.is_empty(), "{customers:?}");
}

/// Hooks that the work sets hide from the library how its transaction ended, but its changes are not committed.
#[tokio::test]
async fn hooks_of_the_application_leave_it_open_what_was_kept() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    for end in ["rollback", "commit", "rollback; begin"] {
        let write = database.write(move |connection| {
            connection.commit_hook(Some(|| false))?;
            connection.rollback_hook(Some(|| ()))?;
            connection.execute_batch(end)
        });
        let lost = write.await.expect_err("it has broken its promise");
        assert!(
            matches!(lost, SqliteStoreError::Commit(_)),
            "{end}: {lost:?}"
        );
    }
    // The hooks applied to one transaction only.
    let write = database.write(|connection| connection.execute_batch("commit"));
    let lost = write.await.expect_err("only the library commits");
    assert!(matches!(lost, SqliteStoreError::Work(_)), "{lost:?}");
}

#[tokio::test]
async fn what_work_sets_without_a_statement_ends_with_it() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let set = database.write(|connection| {
        connection.busy_timeout(Duration::from_secs(60))?;
        connection.progress_handler(1, Some(|| true))
    });
    set.await.expect("it is set");
    let found = database.write(|connection| {
        connection.query_row("pragma busy_timeout", (), |row| row.get::<_, i64>(0))
    });
    assert_eq!(found.await.ok(), Some(2000));
}

#[idempotent(transactional)]
async fn exactly_once(
    State(database): State<SqliteDatabase>,
    execution: Execution,
    statements: String,
) -> Result<Response, CommitError> {
    commit(database, execution, statements).await
}

#[idempotent]
async fn leased(
    State(database): State<SqliteDatabase>,
    execution: Execution,
    statements: String,
) -> Result<Response, CommitError> {
    commit(database, execution, statements).await
}

async fn commit(
    database: SqliteDatabase,
    execution: Execution,
    statements: String,
) -> Result<Response, CommitError> {
    let insert = database.transaction(move |connection| {
        swallow(connection, &statements);
        Ok(())
    });
    execution.commit(insert, StatusCode::CREATED).await
}

/// Otherwise the record would stand alone, and the retry would get a 201 for a booking that does not exist.
// proves: rows-and-key-commit-together, ended-transaction-passes-commit
#[tokio::test]
async fn a_response_is_never_stored_for_rows_that_were_rolled_back() {
    for (way, statements) in WAYS {
        let folder = Folder::new();
        let database = trapped(&folder).await;
        let store = SqliteStore::new(database.clone()).expect("a store");
        limit(&database).await;
        let service = Router::new()
            .route("/transactional", post(exactly_once))
            .route("/leased", post(leased))
            .layer(Extension(Idempotency::new(store.clone())))
            .with_state(database.clone());
        let send = async |path: &str, statements: &'static str| {
            let request = Request::post(path).header("Idempotency-Key", "a-key-of-ann");
            let request = request.body(Body::from(statements)).expect("a request");
            let Ok(response) = service.clone().oneshot(request).await;
            response.status()
        };
        for path in ["/transactional", "/leased"] {
            for _ in 0..2 {
                let status = send(path, statements).await;
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{way}, {path}");
            }
            let records = store.list(&ListRequest::new(10)).await.expect("a list");
            assert!(records.is_empty(), "{way}, {path}: {records:?}");
            let customers = database.read(booked).await.expect("a read");
            assert_eq!(customers, ["Ann"], "{way}, {path}");
        }
        // The key is free, and correct work is committed with its response.
        let status = send("/transactional", "select 1").await;
        assert_eq!(status, StatusCode::CREATED, "{way}");
        let customers = database.read(booked).await.expect("a read");
        assert_eq!(customers, ["Ann", "Bob", "Cid"], "{way}");
    }
}
