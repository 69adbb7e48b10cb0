//! What work under a lease does with its execution: steps, child keys, attempts.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use idempotency::{
    Clock, Execution, Idempotency, MemoryStore, OnDuplicate, Options, Rejection, Run, RunError,
    StepError,
};
use tokio::sync::oneshot;

use crate::{Failed, execute};

const LEASED: Options = Options::new();

/// How often the provider has charged.
type Charges = Arc<AtomicU32>;

/// A receipt, the attempt that received it, and the key that was sent to the provider.
type Receipt = (u32, u32, String);

/// Charges in a step, and then does the rest.
async fn charge(
    execution: Execution,
    charges: Charges,
    rest: impl FnOnce() -> Result<(), Failed>,
) -> Result<Receipt, StepError<Failed>> {
    let key = execution.child_key("charge");
    let charge = async move { Ok((charges.fetch_add(1, Ordering::SeqCst) + 1, key)) };
    let (number, key) = execution.step("charge", charge).await?;
    rest().map_err(StepError::Failed)?;
    Ok((number, execution.attempt(), key))
}

// proves: failures-free-key, downstream-key-derived, failure-after-effect-reruns
#[tokio::test]
async fn work_that_fails_after_a_step_goes_on_with_it_in_the_next_attempt() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let charges = Charges::default();
    let (count, counted) = (Arc::clone(&charges), Arc::clone(&charges));
    let failed = execute(&idempotency, &LEASED, async move |execution: Execution| {
        charge(execution, count, || Err(Failed)).await
    });
    let failed = failed.await;
    assert!(
        matches!(failed, Err(RunError::Failed(StepError::Failed(Failed)))),
        "{failed:?}"
    );
    // As a closure that returns a future.
    let again = execute(&idempotency, &LEASED, |execution| async move {
        let expected = execution.child_key("charge");
        let (number, attempt, key) = charge(execution, counted, || Ok(())).await?;
        assert_eq!(key, expected, "every attempt has the same child key");
        Ok::<_, StepError<Failed>>((number, attempt, key))
    });
    let Ok(Run::Executed(receipt)) = again.await else {
        panic!("the second attempt has no receipt");
    };
    assert_eq!((receipt.0, receipt.1), (1, 2));
    let replayed = execute(&idempotency, &LEASED, |_| async {
        Err::<Receipt, _>(Failed)
    });
    assert_eq!(replayed.await.ok(), Some(Run::Replayed(receipt)));
    assert_eq!(charges.load(Ordering::SeqCst), 1);
}

// proves: panic-frees-key, downstream-key-derived, failure-after-effect-reruns
#[tokio::test]
async fn work_that_panics_after_a_step_goes_on_with_it_in_the_next_attempt() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let charges = Charges::default();
    let (count, counted) = (Arc::clone(&charges), Arc::clone(&charges));
    let panicked = execute(&idempotency, &LEASED, async move |execution| {
        charge(execution, count, || panic!("as this test wants it to")).await
    });
    assert!(matches!(
        panicked.await,
        Err(RunError::Rejected(Rejection::Panicked))
    ));
    let again = execute(&idempotency, &LEASED, async move |execution| {
        charge(execution, counted, || Ok(())).await
    });
    let receipt = again.await.expect("a receipt").into_value();
    assert_eq!((receipt.0, receipt.1), (1, 2));
}

// proves: panic-frees-key
#[tokio::test]
async fn a_closure_that_panics_is_work_that_panics() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let work = |_| -> std::future::Ready<Result<u32, Failed>> {
        panic!("before there is a future, as this test wants it to")
    };
    let panicked = execute(&idempotency, &LEASED, work).await;
    assert!(matches!(
        panicked,
        Err(RunError::Rejected(Rejection::Panicked))
    ));
    let again = execute(&idempotency, &LEASED, |_| async { Ok::<_, Failed>(1) });
    assert_eq!(again.await.ok(), Some(Run::Executed(1)));
}

// proves: downstream-key-derived, dropped-future-loses-nothing, failure-after-effect-reruns
// proves: dropped-step-overwritten
#[tokio::test(start_paused = true)]
async fn a_step_that_continues_after_a_failure_is_stored_before_the_next_attempt() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let (finish, finished) = oneshot::channel();
    let failed = execute(&idempotency, &LEASED, async move |execution: Execution| {
        let slow = async move { finished.await.map_err(|_| Failed) };
        let mut slow = pin!(execution.step("charge", slow));
        poll_fn(|context| {
            assert!(slow.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        Err::<u32, _>(Failed)
    });
    assert!(matches!(failed.await, Err(RunError::Failed(Failed))));
    let refused = execute(&idempotency, &LEASED, |_| async { Ok::<_, Failed>(9) }).await;
    assert!(matches!(
        refused,
        Err(RunError::Rejected(Rejection::InProgress))
    ));
    finish.send(7).expect("the step goes on");
    let waits = LEASED.on_duplicate(OnDuplicate::Wait);
    let again = execute(&idempotency, &waits, async |execution: Execution| {
        let again = async { panic!("it is done already") };
        execution.step::<u32, Failed>("charge", again).await
    });
    assert_eq!(again.await.expect("a value"), Run::Executed(7));
}

// proves: lost-lease-stores-nothing, stale-owner-writes
#[tokio::test]
async fn work_that_lost_its_key_keeps_no_step_and_gets_the_value_that_stands() {
    let clock = Clock::manual();
    let idempotency = Idempotency::new(MemoryStore::new().with_clock(clock.clone()));
    let (begun, has_begun) = oneshot::channel();
    let (go_on, goes_on) = oneshot::channel();
    let late = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            let work = async move |execution: Execution| {
                let charge = async move {
                    begun.send(()).expect("the test waits");
                    goes_on.await.map_err(|_| Failed)
                };
                let charged = execution.step("charge", charge).await;
                assert!(matches!(charged, Err(StepError::Lost)), "{charged:?}");
                charged
            };
            execute(&idempotency, &LEASED, work).await
        }
    });
    has_begun.await.expect("it begins");
    clock.advance(Duration::from_secs(30));
    let standing = execute(&idempotency, &LEASED, async |execution: Execution| {
        Ok::<_, Failed>(execution.attempt())
    });
    assert_eq!(standing.await.expect("a value"), Run::Executed(2));
    go_on.send(1).expect("it waits");
    let late = late.await.expect("no panic");
    assert_eq!(late.ok(), Some(Run::Replayed(2)));
}
