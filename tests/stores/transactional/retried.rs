//! Work that begins a new transaction where the commit of the one before has failed, as after a serialization failure.

use std::{borrow::Cow, error::Error, fmt};

use idempotency::{
    CommitError, Execution, Fingerprint, Idempotency, IdempotencyKey, Options, Run, RunError,
    Scope,
    options::RunMode,
    store::{PostgresStatement, PostgresTransaction},
};
use sqlx::{PgPool, Postgres};

use super::{ClientKind, Kind, TransactionalApp};

/// A transaction that is committed, and whose client then says that the commit has failed with this code.
struct Misreported(sqlx::Transaction<'static, Postgres>, &'static str);

#[derive(Debug)]
enum Failure {
    OfTheServer(sqlx::Error),
    Reported(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self:?}")
    }
}

impl Error for Failure {}

impl PostgresTransaction for Misreported {
    type Error = Failure;

    fn depth(&mut self) -> Option<usize> {
        self.0.depth()
    }

    async fn fetch_text(&mut self, statement: &PostgresStatement<'_>) -> Result<String, Failure> {
        let fetched = self.0.fetch_text(statement).await;
        fetched.map_err(Failure::OfTheServer)
    }

    async fn execute_statements(&mut self, statements: &'static str) -> Result<(), Failure> {
        let executed = self.0.execute_statements(statements).await;
        executed.map_err(Failure::OfTheServer)
    }

    async fn commit(self) -> Result<(), Failure> {
        let committed = PostgresTransaction::commit(self.0).await;
        committed.map_err(Failure::OfTheServer)?;
        Err(Failure::Reported(self.1))
    }

    async fn rollback(self) -> Result<(), Failure> {
        let rolled_back = PostgresTransaction::rollback(self.0).await;
        rolled_back.map_err(Failure::OfTheServer)
    }

    fn sql_state(error: &Failure) -> Option<Cow<'_, str>> {
        match error {
            Failure::OfTheServer(error) => sqlx::Transaction::<'_, Postgres>::sql_state(error),
            Failure::Reported(code) => Some((*code).into()),
        }
    }
}

/// Books these guests one after the other, each in a transaction of its own, until one of them is committed by its word.
async fn book_one_of(
    execution: Execution,
    pool: PgPool,
    code: &'static str,
) -> Result<String, CommitError> {
    let mut failed = None;
    for guest in ["Ann", "Ben"] {
        let mut transaction = pool.begin().await?;
        let insert = sqlx::query("insert into bookings values ($1)").bind(guest);
        insert.execute(&mut *transaction).await?;
        let committing = execution.commit_value(Misreported(transaction, code), guest.to_owned());
        match committing.await {
            Err(CommitError::Failed(error)) => failed = Some(CommitError::Failed(error)),
            ended => return ended,
        }
    }
    Err(failed.expect("two failures"))
}

async fn run(app: &TransactionalApp, mode: RunMode, code: &'static str) -> Option<Run<String>> {
    let idempotency = Idempotency::builder(app.store()).build();
    let (scope, key) = (Scope::anonymous(), IdempotencyKey::new("k").expect("a key"));
    let (options, asked) = (
        Options::new().mode(mode),
        Fingerprint::of([b"book".as_slice()]),
    );
    let pool = app.admin().clone();
    let work = move |execution| book_one_of(execution, pool, code);
    let run = idempotency
        .run_with(&options, &scope, &key, asked, work)
        .await;
    match run {
        Ok(run) => Some(run),
        Err(RunError::Failed(_)) => None,
        other => panic!("{other:?}"),
    }
}

/// A proxy between client and server, such as `PgCat`, has codes of its own for a server that was lost in the middle of a commit. None
/// of these says that the server has undone anything.
// proves: unknown-commit-applied-twice, rows-and-key-commit-together
#[tokio::test]
async fn a_commit_that_fails_by_a_code_that_does_not_say_undone_is_found_out() {
    for mode in [RunMode::Lease, RunMode::Transactional] {
        for code in ["58000", "58030", "XX000", "40003", "08006", "57P01"] {
            let kind = Kind::Postgres(ClientKind::Sqlx09);
            let Some(app) = TransactionalApp::new(kind).await else {
                return;
            };
            let ann = "Ann".to_owned();
            let first = run(&app, mode, code).await;
            assert_eq!(first, Some(Run::Executed(ann.clone())), "{mode:?}, {code}");
            assert_eq!(app.guests().await, ["Ann"], "{mode:?}, {code}");
            let again = run(&app, mode, code).await;
            assert_eq!(again, Some(Run::Replayed(ann)), "{mode:?}, {code}");
        }
    }
}

/// Its record is completed by the run's own token, and yet the second transaction is not the one that has done so.
// proves: unknown-commit-applied-twice, rows-and-key-commit-together
#[tokio::test]
async fn a_run_that_has_committed_commits_nothing_else_whatever_its_client_said_of_it() {
    for mode in [RunMode::Lease, RunMode::Transactional] {
        let kind = Kind::Postgres(ClientKind::Sqlx09);
        let Some(app) = TransactionalApp::new(kind).await else {
            return;
        };
        let first = run(&app, mode, "40001").await;
        assert_eq!(app.guests().await, ["Ann"], "{mode:?}");
        assert_eq!(first, Some(Run::Replayed("Ann".to_owned())), "{mode:?}");
    }
}
