//! A handler that writes a row, in SQLite.

use axum::{Extension, Router, extract::State, http::StatusCode, response, routing::post};
use idempotency::{
    Clock, Execution, Idempotency, SqliteDatabase, SqliteStore, idempotent,
    testing::{Interruption, Report, Trial, TrialStore, interrupt_everywhere},
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::request;

const INSERT: &str = "insert into bookings default values";

/// The row and the end of the run are one commit.
#[idempotent(transactional)]
async fn in_one_commit(
    State(database): State<SqliteDatabase>,
    execution: Execution,
) -> response::Result<response::Response> {
    let insert = database.transaction(|connection| connection.execute(INSERT, []));
    Ok(execution
        .commit_then(insert, |_| StatusCode::CREATED)
        .await?)
}

/// They are two.
#[idempotent]
async fn in_two_commits(State(database): State<SqliteDatabase>) -> StatusCode {
    let insert = database
        .write(|connection| connection.execute(INSERT, []))
        .await;
    insert.map_or(StatusCode::INTERNAL_SERVER_ERROR, |_| StatusCode::CREATED)
}

fn trial(route: fn() -> axum::routing::MethodRouter<SqliteDatabase>) -> Trial {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("bookings.db");
    let database = SqliteDatabase::open(&file).unwrap();
    let clock = Clock::manual();
    let store = SqliteStore::new(database.clone())
        .unwrap()
        .with_clock(clock.clone());
    let reader = Connection::open(&file).unwrap();
    reader
        .execute_batch("create table bookings (id integer primary key)")
        .unwrap();
    let app = move |store: TrialStore| -> Router {
        Router::new()
            .route("/", route())
            .layer(Extension(Idempotency::new(store)))
            .with_state(database.clone())
    };
    let bookings = move || {
        let _folder = &folder;
        reader
            .query_row("select count(*) from bookings", [], |row| {
                row.get::<_, u32>(0)
            })
            .unwrap() as usize
    };
    Trial::new(app, request, bookings).with_store(store, clock)
}

fn report(route: fn() -> axum::routing::MethodRouter<SqliteDatabase>) -> Report {
    interrupt_everywhere(move || trial(route))
}

// proves: handler-interrupted-everywhere, rows-and-key-commit-together
#[test]
fn rows_that_are_committed_with_their_key_are_there_once_wherever_the_request_is_interrupted() {
    // A commit that is over at once is not awaited, and then no interruption meets it.
    for _ in 0..20 {
        let report = report(|| post(in_one_commit));
        report.assert_effects(1).assert_answered();
        let meets_handler = |interruption| {
            let mut trials = report.trials.iter();
            trials.any(|trial| {
                trial.interruption == interruption && trial.place.starts_with("an await later than")
            })
        };
        if meets_handler(Interruption::Crash) && meets_handler(Interruption::Disconnect) {
            return;
        }
    }
    panic!("some interruption has not met the handler and its commit");
}

// proves: handler-interrupted-everywhere
#[test]
fn rows_that_are_committed_before_their_key_are_found() {
    let report = report(|| post(in_two_commits));
    assert!(
        report.trials.iter().any(|trial| trial.effects == 2),
        "{report}"
    );
}
