//! Shutdowns with a time limit.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use idempotency::{Clock, Idempotency, Rejection, Run, RunError};
use tokio::{sync::oneshot, time::Instant};

use crate::{RunResult, charge, flaky::FlakyStore};

const LIMIT: Duration = Duration::from_secs(30);

fn engine() -> (Idempotency, Arc<FlakyStore>) {
    let store = FlakyStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    (idempotency, store)
}

/// The unfinished runs and withdrawals, and how long the shutdown took.
async fn shut_down(idempotency: &Idempotency) -> ((usize, usize), Duration) {
    let begun = Instant::now();
    let unfinished = match idempotency.shutdown_within(LIMIT).await {
        Ok(()) => (0, 0),
        Err(unfinished) => (unfinished.runs, unfinished.withdrawals),
    };
    (unfinished, begun.elapsed())
}

// proves: shutdown-waits-for-runs
#[tokio::test(start_paused = true)]
async fn a_shutdown_with_a_limit_does_not_wait_for_a_run_that_hangs() {
    let (idempotency, _) = engine();
    let (begun, has_begun) = oneshot::channel();
    let hanging = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            let run: RunResult<u32> = charge(&idempotency, async {
                begun.send(()).expect("the test waits");
                pending().await
            })
            .await;
            run
        }
    });
    has_begun.await.expect("it begins");
    assert_eq!(shut_down(&idempotency).await, ((1, 0), LIMIT));
    let refused: RunResult<u32> = charge(&idempotency, async { Ok(1) }).await;
    assert!(matches!(
        refused,
        Err(RunError::Rejected(Rejection::ShuttingDown))
    ));
    hanging.abort();
}

// proves: shutdown-waits-for-runs
#[tokio::test(start_paused = true)]
async fn a_shutdown_with_a_limit_waits_for_what_ends_in_time() {
    let (idempotency, _) = engine();
    let (begun, has_begun) = oneshot::channel();
    let running = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            charge(&idempotency, async {
                begun.send(()).expect("the test waits");
                tokio::time::sleep(Duration::from_secs(20)).await;
                Ok(1)
            })
            .await
        }
    });
    has_begun.await.expect("it begins");
    let (unfinished, took) = shut_down(&idempotency).await;
    assert_eq!(unfinished, (0, 0));
    assert!(took < LIMIT, "{took:?}");
    let run = running.await.expect("no panic");
    assert_eq!(run.ok(), Some(Run::Executed(1)));
}

// proves: shutdown-waits-for-runs, dropped-future-loses-nothing
#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_long_for_claims_that_a_store_that_is_down_cannot_withdraw() {
    let (idempotency, store) = engine();
    store.dies_behind_claim.store(true, Ordering::SeqCst);
    let refused: RunResult<u32> = charge(&idempotency, async { Ok(1) }).await;
    assert!(matches!(
        refused,
        Err(RunError::Rejected(Rejection::Store(_)))
    ));
    let (unfinished, took) = shut_down(&idempotency).await;
    assert_eq!(unfinished, (0, 1));
    assert!(took < LIMIT / 2, "{took:?}");
}

// proves: shutdown-waits-for-runs, dead-owner-taken-over
#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_a_response_that_was_sent_and_not_stored() {
    for comes_back in [false, true] {
        let (idempotency, store) = engine();
        let run = charge(&idempotency, {
            let store = Arc::clone(&store);
            async move {
                store.down.store(true, Ordering::SeqCst);
                Ok(1)
            }
        });
        assert_eq!(run.await.ok(), Some(Run::Executed(1)));
        let back = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(15)).await;
            store.down.store(!comes_back, Ordering::SeqCst);
        });
        let (unfinished, took) = shut_down(&idempotency).await;
        if comes_back {
            assert_eq!(unfinished, (0, 0));
        } else {
            assert_eq!((unfinished, took), ((1, 0), LIMIT));
        }
        back.await.expect("no panic");
    }
}
