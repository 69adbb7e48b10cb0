//! Commits whose reply does not reach the work: the record decides, if there is one.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering, mpsc},
    task::Poll,
};

use idempotency::{
    Execution, Idempotency, MemoryStore, OnDuplicate, Rejection, Run, RunError, SqliteDatabase,
};
use tokio::sync::oneshot;

use crate::{
    Failed,
    commits::{BOTH, LEASED, World},
    execute,
    flaky::FlakyStore,
};

/// Begins a commit whose transaction waits, and drops it before it ends. The returned sender lets it end.
async fn begin_and_drop(execution: &Execution, database: &SqliteDatabase) -> mpsc::Sender<()> {
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let insert = database.transaction(move |connection| {
        may_go_on.recv().unwrap_or_default();
        connection.execute("insert into invoices (customer) values ('ann')", ())
    });
    let mut commit = pin!(execution.commit_value(insert, 1));
    poll_fn(|context| {
        assert!(commit.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    go_on
}

// proves: run-survives-outer-timeout, rows-and-key-commit-together, own-claim-unrecognised
// proves: unknown-commit-applied-twice
#[tokio::test]
async fn a_commit_that_is_dropped_midway_is_found_out_by_its_record() {
    for options in BOTH {
        let world = World::new().await;
        let idempotency = world.engine();
        let database = world.database.clone();
        let run = execute(&idempotency, &options, async move |execution: Execution| {
            drop(begin_and_drop(&execution, &database).await);
            Err::<i32, _>(Failed)
        });
        // Its own value, whose commit was not confirmed.
        assert_eq!(run.await.ok(), Some(Run::Replayed(1)));
        assert_eq!(world.invoices().await, 1);
    }
}

// proves: failed-completion-keeps-key, rows-and-key-commit-together, unknown-commit-applied-twice
#[tokio::test]
async fn a_commit_of_which_the_store_does_not_tell_is_a_refusal_and_happens_once() {
    for options in BOTH {
        let world = World::new().await;
        let store = FlakyStore::over(world.store.clone());
        let idempotency = Idempotency::builder(Arc::clone(&store)).build();
        let (database, down) = (world.database.clone(), Arc::clone(&store));
        let unknown = execute(&idempotency, &options, async move |execution: Execution| {
            let go_on = begin_and_drop(&execution, &database).await;
            down.down.store(true, Ordering::SeqCst);
            drop(go_on);
            Err::<i32, _>(Failed)
        });
        let unknown = unknown.await;
        assert!(
            matches!(
                unknown,
                Err(RunError::Rejected(Rejection::CommitUnknown {
                    is_shared: true,
                    ..
                }))
            ),
            "{unknown:?}"
        );
        store.down.store(false, Ordering::SeqCst);
        let insert = world.invoice("ann");
        let retry = execute(&idempotency, &options, async move |execution: Execution| {
            execution.commit_value(insert, 2).await
        });
        assert_eq!(retry.await.ok(), Some(Run::Replayed(1)));
        assert_eq!(world.invoices().await, 1);
    }
}

// proves: run-survives-client-leaving, rows-and-key-commit-together, client-leaves-response-lost
#[tokio::test]
async fn work_commits_although_its_caller_has_left() {
    for options in BOTH {
        let world = World::new().await;
        let idempotency = world.engine();
        let insert = world.invoice("ann");
        let (begun, has_begun) = oneshot::channel();
        let (go_on, goes_on) = oneshot::channel();
        let caller = tokio::spawn({
            let idempotency = idempotency.clone();
            async move {
                let work = async move |execution: Execution| {
                    begun.send(()).expect("the test waits");
                    goes_on.await.expect("a word");
                    execution.commit_value(insert, 1).await
                };
                execute(&idempotency, &options, work).await
            }
        });
        has_begun.await.expect("it begins");
        caller.abort();
        assert!(caller.await.is_err());
        go_on.send(()).expect("it goes on");
        let waits = options.on_duplicate(OnDuplicate::Wait);
        let again = execute(&idempotency, &waits, |_| async { Err::<i32, _>(Failed) });
        assert_eq!(again.await.ok(), Some(Run::Replayed(1)));
        assert_eq!(world.invoices().await, 1);
    }
}

// proves: lost-lease-stores-nothing, failed-completion-keeps-key, mismatch-gets-409
#[tokio::test]
async fn keys_in_another_database_are_completed_after_the_commit() {
    let world = World::new().await;
    let idempotency = Idempotency::new(MemoryStore::new());
    for expected in [Run::Executed(1), Run::Replayed(1)] {
        let insert = world.invoice("ann");
        let run = execute(&idempotency, &LEASED, async move |execution: Execution| {
            execution.commit_value_then(insert, |number| number).await
        });
        assert_eq!(run.await.ok(), Some(expected));
    }
    assert_eq!(world.invoices().await, 1);

    // A commit that was dropped midway has no record.
    let idempotency = Idempotency::new(MemoryStore::new());
    let database = world.database.clone();
    let unknown = execute(&idempotency, &LEASED, async move |execution: Execution| {
        drop(begin_and_drop(&execution, &database).await);
        Err::<i32, _>(Failed)
    });
    let unknown = unknown.await;
    assert!(
        matches!(
            unknown,
            Err(RunError::Rejected(Rejection::CommitUnknown {
                is_shared: false,
                ..
            }))
        ),
        "{unknown:?}"
    );
}
