//! The tasks that accompany runs, and how they end.

use std::{future::pending, time::Duration};

use idempotency::{Clock, Idempotency, Options, Rejection, Run, RunError, Scope};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::timeout,
};

use crate::{
    Failed, RunResult, asked, charge, charge_with, key,
    watched::{WatchedStore, reaches},
};

/// Far longer than any test takes, on a clock that advances only while every task waits.
const LONG: Duration = Duration::from_secs(1_000_000);

// proves: hold-lives-by-renewal, renewal-stops-early, late-renewal-revives-record
#[tokio::test(start_paused = true)]
async fn a_hold_is_renewed_while_the_work_runs_and_not_after_its_end() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let run = charge(&idempotency, {
        let renewals = calls.renewals.clone();
        async move {
            reaches(&renewals, 5).await;
            Ok(1)
        }
    });
    let run = timeout(LONG, run).await.expect("renewals");
    assert_eq!(run.expect("a value"), Run::Executed(1));
    let renewals = *calls.renewals.borrow();
    tokio::time::sleep(LONG).await;
    assert_eq!(*calls.renewals.borrow(), renewals);
}

// proves: hold-lives-by-renewal, crash-locks-for-ttl
#[tokio::test(start_paused = true)]
async fn work_that_hangs_gives_its_key_up_in_the_end() {
    let clock = Clock::manual();
    let (store, calls) = WatchedStore::new(&clock);
    let idempotency = Idempotency::builder(store).build();
    let options = Options::new().lease(Duration::from_secs(3600));
    let hanging = tokio::spawn({
        let (idempotency, options) = (idempotency.clone(), options);
        async move {
            let run: RunResult<u32> = charge_with(&idempotency, &options, pending()).await;
            run
        }
    });
    tokio::time::sleep(LONG).await;
    // Every twenty minutes for a day, without the day's last moment.
    assert_eq!(*calls.renewals.borrow(), 71);
    clock.advance(Duration::from_secs(3600));
    let next = charge_with(&idempotency, &options, async { Ok(2) }).await;
    assert_eq!(next.expect("a value"), Run::Executed(2));
    assert!(!hanging.is_finished());
}

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn a_shutdown_refuses_new_work_and_waits_for_what_runs() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let (go_on, may_go_on) = oneshot::channel::<()>();
    let running = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            charge(&idempotency, async {
                may_go_on.await.expect("a word");
                Ok(1)
            })
            .await
        }
    });
    reaches(&calls.claims, 1).await;
    let mut shutdown = Box::pin(idempotency.shutdown());
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("work is running"),
        () = std::future::ready(()) => {}
    }
    let (scope, new) = (Scope::anonymous(), key("new"));
    let refused = idempotency
        .run(&scope, &new, asked("charge"), async { Ok::<_, Failed>(2) })
        .await;
    assert!(matches!(
        refused,
        Err(RunError::Rejected(Rejection::ShuttingDown))
    ));
    assert_eq!(*calls.claims.borrow(), 1);
    go_on.send(()).expect("the work waits");
    shutdown.await;
    let run = running.await.expect("no panic");
    assert_eq!(run.expect("a value"), Run::Executed(1));
}

// proves: hold-lives-by-renewal, sweep-removes-only-expired, shutdown-waits-for-runs
// proves: dead-owner-taken-over
#[test]
fn an_engine_works_on_when_the_runtime_it_began_on_has_gone() {
    let clock = Clock::manual();
    let (store, calls) = WatchedStore::new(&clock);
    let idempotency = Idempotency::builder(store)
        .with_sweep_every(Duration::from_secs(1))
        .build();
    for round in 1..=3 {
        let runtime = runtime();
        runtime.block_on(async {
            let run = charge(&idempotency, {
                let renewals = calls.renewals.clone();
                async move {
                    let before = *renewals.borrow();
                    reaches(&renewals, before + 2).await;
                    Ok(round)
                }
            });
            let run = timeout(LONG, run).await.expect("renewals");
            assert_eq!(run.expect("a value"), Run::Executed(round));
            clock.advance(Duration::from_secs(24 * 60 * 60 + 60));
            let sweep = reaches(&calls.purged, round);
            timeout(LONG, sweep).await.expect("a sweep");
        });
    }

    // A run that ends with its runtime leaves its key as a crash would, and the shutdown does not wait for it.
    let killed = runtime();
    let (begun, has_begun) = oneshot::channel();
    killed.spawn({
        let idempotency = idempotency.clone();
        async move {
            let run: RunResult<usize> = charge(&idempotency, async {
                begun.send(()).expect("the test waits");
                pending().await
            })
            .await;
            run
        }
    });
    killed.block_on(has_begun).expect("the work begins");
    drop(killed);
    runtime().block_on(async {
        let early: RunResult<usize> = charge(&idempotency, async { Ok(4) }).await;
        assert!(matches!(
            early,
            Err(RunError::Rejected(Rejection::InProgress))
        ));
        clock.advance(Duration::from_secs(30));
        let next = charge(&idempotency, async { Ok(4) }).await;
        assert_eq!(next.expect("a value"), Run::Executed(4));
        let shutdown = timeout(LONG, idempotency.shutdown());
        shutdown.await.expect("no run to wait for");
    });
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}
