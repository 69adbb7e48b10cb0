//! Work that commits its rows, its key and its value together, in one SQLite file.

use std::{
    collections::BTreeMap, future::poll_fn, pin::pin, sync::atomic::Ordering, task::Poll,
    time::Duration,
};

use idempotency::{
    Clock, CommitError, Execution, Idempotency, OnDuplicate, Options, Rejection, Run, RunError,
    Scope, SqliteDatabase, SqliteStore, Store, options::RunMode, store::Transaction,
};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{Failed, execute, flaky::FlakyStore, key};

pub(crate) const LEASED: Options = Options::new();
const TRANSACTIONAL: Options = Options::new().mode(RunMode::Transactional);
pub(crate) const BOTH: [Options; 2] = [LEASED, TRANSACTIONAL];

/// A file with invoices, one for each customer, and with keys.
pub(crate) struct World {
    pub(crate) database: SqliteDatabase,
    pub(crate) store: SqliteStore,
    clock: Clock,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = SqliteDatabase::open(folder.path().join("world.db")).expect("a file");
        let create = "create table invoices (id integer primary key, customer text unique) strict";
        let created = database.write(move |connection| connection.execute(create, ()));
        created.await.expect("a table");
        let clock = Clock::manual();
        let store = SqliteStore::new(database.clone()).expect("a store");
        Self {
            database,
            store: store.with_clock(clock.clone()),
            clock,
            _folder: folder,
        }
    }

    /// A separate engine, as in another process.
    pub(crate) fn engine(&self) -> Idempotency {
        Idempotency::new(self.store.clone())
    }

    /// Makes an invoice, and returns its number.
    pub(crate) fn invoice(&self, customer: &'static str) -> impl Transaction<Value = i64> + use<> {
        self.database.transaction(move |connection| {
            connection
                .prepare("insert into invoices (customer) values (?1)")?
                .insert([customer])
        })
    }

    pub(crate) async fn invoices(&self) -> u32 {
        let count = self.database.read(|connection| {
            connection.query_row("select count(*) from invoices", (), |row| row.get(0))
        });
        count.await.expect("a number")
    }

    /// Whether the key has no record.
    async fn is_free(&self) -> bool {
        let id = self.engine().record_id(&Scope::anonymous(), &key("k"));
        let record = self.store.inspect(&id).await.expect("a reply");
        record.is_none()
    }
}

// proves: rows-and-key-commit-together
#[tokio::test]
async fn rows_key_and_value_are_one_commit() {
    for options in BOTH {
        let world = World::new().await;
        let idempotency = world.engine();
        let insert = world.invoice("ann");
        let first = execute(&idempotency, &options, async move |execution: Execution| {
            let value = |number| format!("invoice {number}");
            execution.commit_value_then(insert, value).await
        });
        assert_eq!(
            first.await.ok(),
            Some(Run::Executed("invoice 1".to_owned()))
        );
        // Also in another process.
        for engine in [&idempotency, &world.engine()] {
            let again = execute(engine, &options, |_| async { Err::<String, _>(Failed) });
            let expected = Run::Replayed("invoice 1".to_owned());
            assert_eq!(again.await.ok(), Some(expected));
        }
        assert_eq!(world.invoices().await, 1);
    }
}

// proves: duplicate-may-wait, rows-and-key-commit-together
#[tokio::test]
async fn a_duplicate_that_waits_gets_the_value_that_is_committed_meanwhile() {
    for options in BOTH {
        let world = World::new().await;
        let idempotency = world.engine();
        let insert = world.invoice("ann");
        let (begun, has_begun) = oneshot::channel();
        let (go_on, goes_on) = oneshot::channel();
        let run = execute(&idempotency, &options, async move |execution: Execution| {
            begun.send(()).expect("the test waits");
            goes_on.await.expect("a word");
            execution.commit_value(insert, 1).await
        });
        let waits = options.on_duplicate(OnDuplicate::Wait);
        let duplicate = async {
            has_begun.await.expect("it begins");
            let refused = execute(&idempotency, &options, |_| async { Ok::<_, Failed>(2) }).await;
            assert!(matches!(
                refused,
                Err(RunError::Rejected(Rejection::InProgress))
            ));
            let waiting = execute(&idempotency, &waits, |_| async { Ok::<_, Failed>(2) });
            let mut waiting = pin!(waiting);
            poll_fn(|context| {
                assert!(waiting.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
            go_on.send(()).expect("it waits");
            waiting.await
        };
        let (run, duplicate) = tokio::join!(run, duplicate);
        assert_eq!(run.ok(), Some(Run::Executed(1)));
        assert_eq!(duplicate.ok(), Some(Run::Replayed(1)));
        assert_eq!(world.invoices().await, 1);
    }
}

// proves: rows-and-key-commit-together
#[tokio::test]
async fn transactional_work_that_succeeds_without_a_commit_is_refused_and_leaves_nothing() {
    let world = World::new().await;
    let idempotency = world.engine();
    let forgotten = execute(&idempotency, &TRANSACTIONAL, |_| async {
        Ok::<_, Failed>(1)
    });
    let forgotten = forgotten.await;
    assert!(
        matches!(forgotten, Err(RunError::Rejected(Rejection::NotCommitted))),
        "{forgotten:?}"
    );
    assert!(world.is_free().await);
    let insert = world.invoice("ann");
    let corrected = execute(
        &idempotency,
        &TRANSACTIONAL,
        async |execution: Execution| execution.commit_value(insert, 2).await,
    );
    assert_eq!(corrected.await.ok(), Some(Run::Executed(2)));
}

// proves: failures-free-key, rows-and-key-commit-together
#[tokio::test]
async fn a_commit_that_fails_keeps_nothing_and_leaves_the_key_free() {
    for options in BOTH {
        let world = World::new().await;
        let idempotency = world.engine();
        // A customer can have only one invoice, so the transaction fails at its second row.
        let twice = world.database.transaction(|connection| {
            connection.execute("insert into invoices (customer) values ('ann')", ())?;
            connection.execute("insert into invoices (customer) values ('ann')", ())
        });
        let failed = execute(&idempotency, &options, async move |execution: Execution| {
            execution.commit_value(twice, 1).await
        });
        let failed = failed.await;
        assert!(
            matches!(failed, Err(RunError::Failed(CommitError::Failed(_)))),
            "{failed:?}"
        );
        assert_eq!(world.invoices().await, 0);
        assert!(world.is_free().await);
        let insert = world.invoice("ann");
        let corrected = execute(&idempotency, &options, async move |execution: Execution| {
            execution.commit_value(insert, 2).await
        });
        assert_eq!(corrected.await.ok(), Some(Run::Executed(2)));
    }
}

// proves: lost-lease-stores-nothing, rows-and-key-commit-together, loser-refused-not-replayed
// proves: stale-owner-writes
#[tokio::test]
async fn who_commits_second_rolls_back_and_gets_the_value_of_the_first() {
    for options in BOTH {
        let world = World::new().await;
        let (here, there) = (world.engine(), world.engine());
        let (first, second) = (world.invoice("ann"), world.invoice("bob"));
        let run = execute(&here, &options, async move |execution: Execution| {
            // Under a lease, this run counts as lost meanwhile.
            world.clock.advance(Duration::from_secs(30));
            let other = execute(&there, &options, async move |execution: Execution| {
                execution.commit_value(first, "first".to_owned()).await
            });
            let executed = Some(Run::Executed("first".to_owned()));
            assert_eq!(other.await.ok(), executed);
            let late = execution.commit_value(second, "second".to_owned()).await;
            assert!(matches!(late, Err(CommitError::Superseded)), "{late:?}");
            assert_eq!(world.invoices().await, 1);
            late
        });
        let replayed = Some(Run::Replayed("first".to_owned()));
        assert_eq!(run.await.ok(), replayed);
    }
}

// proves: stored-before-sent
#[tokio::test]
async fn what_was_committed_counts_whatever_the_work_gives_afterwards() {
    for options in BOTH {
        for then in ["another value", "an error", "a panic"] {
            let world = World::new().await;
            let idempotency = world.engine();
            let insert = world.invoice("ann");
            let run = execute(&idempotency, &options, async move |execution: Execution| {
                let committed = execution.commit_value(insert, 1).await;
                assert_eq!(committed.ok(), Some(1));
                match then {
                    "another value" => Ok(2),
                    "an error" => Err(Failed),
                    _ => panic!("as this test wants it to"),
                }
            });
            assert_eq!(run.await.ok(), Some(Run::Executed(1)), "{then}");
            let again = execute(&idempotency, &options, |_| async { Err::<i32, _>(Failed) });
            assert_eq!(again.await.ok(), Some(Run::Replayed(1)), "{then}");
            assert_eq!(world.invoices().await, 1);
        }
    }
}

// proves: oversized-response-leaves-tombstone
#[tokio::test]
async fn a_value_that_cannot_be_written_undoes_its_transaction() {
    for options in BOTH {
        let world = World::new().await;
        let idempotency = world.engine();
        let insert = world.invoice("ann");
        let run = execute(&idempotency, &options, async move |execution: Execution| {
            // JSON has no objects with pairs as names.
            let value = BTreeMap::from([((1, 2), 3)]);
            execution.commit_value(insert, value).await
        });
        let failed = run.await;
        assert!(
            matches!(failed, Err(RunError::Failed(CommitError::Failed(_)))),
            "{failed:?}"
        );
        assert_eq!(world.invoices().await, 0);
        assert!(world.is_free().await);
    }
}

// proves: oversized-response-leaves-tombstone
#[tokio::test]
async fn a_value_that_is_too_long_is_given_once_and_its_rows_stay() {
    for options in BOTH {
        let world = World::new().await;
        let store = FlakyStore::over(world.store.clone());
        store.limit.store(16, Ordering::SeqCst);
        let idempotency = Idempotency::builder(store).build();
        let long = "a value of more than 16 bytes".to_owned();
        for expected in [Some(Run::Executed(long.clone())), None] {
            let (insert, long) = (world.invoice("ann"), long.clone());
            let run = execute(&idempotency, &options, async move |execution: Execution| {
                execution.commit_value(insert, long).await
            });
            match (run.await, expected) {
                (Ok(run), Some(expected)) => assert_eq!(run, expected),
                (Err(RunError::Rejected(Rejection::NotStored)), None) => {}
                (run, _) => panic!("{run:?}"),
            }
        }
        assert_eq!(world.invoices().await, 1);
    }
}

// proves: keyless-request-passes
#[tokio::test]
async fn work_without_a_key_commits_without_a_record() {
    let world = World::new().await;
    let execution = Execution::unprotected();
    let committed = execution.commit_value(world.invoice("ann"), 1).await;
    assert_eq!(committed.ok(), Some(1));
    assert_eq!(world.invoices().await, 1);
}
