//! How the secret is changed while services run: in three deployments, of which two neighbours serve concurrently.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use idempotency::{
    Clock, Idempotency, IdempotencyBuilder, Label, MemoryStore, Options, Rejection, Run, RunError,
    Scope, Store, operators::KeyState, options::RunMode, store::ListRequest,
};
use tokio::{sync::Barrier, task::JoinSet};

#[cfg(feature = "sqlite")]
use super::commits::World;
use super::{Failed, asked, charge_with, execute, key, refund};

pub(crate) const OLD: &[u8] = b"the old secret";
pub(crate) const NEW: &[u8] = b"the new secret";

/// The services of one deployment.
pub(crate) type Deployment = fn(IdempotencyBuilder) -> IdempotencyBuilder;

pub(crate) const BEFORE: Deployment = |builder| builder.with_secret(OLD);
pub(crate) const FIRST: Deployment = |builder| builder.with_secret(OLD).with_next_secret(NEW);
pub(crate) const SECOND: Deployment = |builder| builder.with_secret(NEW).with_previous_secret(OLD);
pub(crate) const THIRD: Deployment = |builder| builder.with_secret(NEW);

/// The pairs that serve concurrently, each in both orders.
const NEIGHBOURS: [[Deployment; 2]; 6] = [
    [BEFORE, FIRST],
    [FIRST, BEFORE],
    [FIRST, SECOND],
    [SECOND, FIRST],
    [SECOND, THIRD],
    [THIRD, SECOND],
];

pub(crate) fn serve<S: Store + Clone>(store: &S, deployment: Deployment) -> Idempotency {
    deployment(Idempotency::builder(store.clone())).build()
}

pub(crate) fn options() -> Options {
    Options::new().ttl(Duration::from_secs(3600))
}

pub(crate) async fn value(idempotency: &Idempotency, value: u32) -> Run<u32> {
    let run = charge_with(idempotency, &options(), async move { Ok(value) }).await;
    run.expect("a value")
}

// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn a_key_is_replayed_by_the_services_of_the_deployment_before_and_after() {
    for [one, other] in NEIGHBOURS {
        let store = MemoryStore::new();
        let (one, other) = (serve(&store, one), serve(&store, other));
        assert_eq!(value(&one, 1).await, Run::Executed(1));
        for _ in 0..2 {
            assert_eq!(value(&other, 2).await, Run::Replayed(1));
            assert_eq!(value(&one, 3).await, Run::Replayed(1));
        }
        for service in [&one, &other] {
            let refused = refund(service, 4).await;
            assert!(
                matches!(refused, Err(RunError::Rejected(Rejection::Reused))),
                "{refused:?}"
            );
        }
    }
}

/// The second deployment stays until what was stored under the old secret has expired.
// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn a_key_is_replayed_through_all_deployments_for_its_ttl() {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    assert_eq!(value(&serve(&store, BEFORE), 1).await, Run::Executed(1));
    assert_eq!(value(&serve(&store, FIRST), 2).await, Run::Replayed(1));
    clock.advance(Duration::from_secs(3599));
    assert_eq!(value(&serve(&store, SECOND), 3).await, Run::Replayed(1));
    clock.advance(Duration::from_secs(3600));
    assert_eq!(value(&serve(&store, SECOND), 4).await, Run::Executed(4));
    assert_eq!(value(&serve(&store, THIRD), 5).await, Run::Replayed(4));
}

// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn the_first_secret_is_introduced_without_forgetting_a_key() {
    let store = MemoryStore::new();
    let without = Idempotency::new(store.clone());
    assert_eq!(value(&without, 1).await, Run::Executed(1));
    let first = serve(&store, |builder| builder.with_next_secret(NEW));
    assert_eq!(value(&first, 2).await, Run::Replayed(1));
    let second = serve(&store, |builder| {
        builder.with_secret(NEW).with_previous_secret(b"")
    });
    assert_eq!(value(&second, 3).await, Run::Replayed(1));
}

// proves: secret-rotation-runs-once, one-atomic-claim
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_equal_requests_to_two_neighbours_run_once() {
    for pair in NEIGHBOURS {
        for _ in 0..20 {
            let store = MemoryStore::new();
            let services = pair.map(|deployment| serve(&store, deployment));
            let runs = Arc::new(AtomicUsize::new(0));
            let barrier = Arc::new(Barrier::new(20));
            let mut requests = JoinSet::new();
            for number in 0..20 {
                let service = services[number % 2].clone();
                let (runs, barrier) = (Arc::clone(&runs), Arc::clone(&barrier));
                requests.spawn(async move {
                    barrier.wait().await;
                    let work = async move {
                        runs.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok(1)
                    };
                    charge_with(&service, &options(), work).await
                });
            }
            while let Some(response) = requests.join_next().await {
                assert_once(&response.expect("no panic"));
            }
            assert_eq!(runs.load(Ordering::SeqCst), 1);
            for service in &services {
                assert_eq!(value(service, 2).await, Run::Replayed(1));
            }
        }
    }
}

fn assert_once<T: PartialEq + From<u8> + std::fmt::Debug, E: std::fmt::Debug>(
    response: &Result<Run<T>, RunError<E>>,
) {
    match response {
        Ok(Run::Executed(value) | Run::Replayed(value)) => assert_eq!(*value, T::from(1)),
        Err(RunError::Rejected(Rejection::InProgress)) => {}
        other => panic!("{other:?}"),
    }
}

/// Transactions that write their records under different secrets do not conflict, so the runs use leases.
// proves: secret-rotation-runs-once, rows-and-key-commit-together
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_equal_transactions_of_two_neighbours_commit_once() {
    for pair in NEIGHBOURS {
        let world = World::new().await;
        let services = pair.map(|deployment| {
            let builder = Idempotency::builder(world.store.clone());
            deployment(builder).build()
        });
        let barrier = Arc::new(Barrier::new(20));
        let mut requests = JoinSet::new();
        for number in 0..20 {
            let service = services[number % 2].clone();
            let barrier = Arc::clone(&barrier);
            // Each would have a row of its own.
            let insert = world.invoice(format!("customer {number}").leak());
            requests.spawn(async move {
                barrier.wait().await;
                let options = options().mode(RunMode::Transactional);
                let run = execute(&service, &options, async move |execution| {
                    execution.commit_value(insert, 1_u32).await
                });
                run.await
            });
        }
        while let Some(response) = requests.join_next().await {
            assert_once(&response.expect("no panic"));
        }
        assert_eq!(world.invoices().await, 1);
        for service in &services {
            assert_eq!(value(service, 2).await, Run::Replayed(1));
        }
    }
}

/// While a run continues in one deployment, its neighbour refuses duplicates, and leaves the run alone.
// proves: secret-rotation-runs-once, running-duplicate-gets-409
#[tokio::test]
async fn a_run_that_goes_on_keeps_the_neighbours_out() {
    for [one, other] in NEIGHBOURS {
        let store = MemoryStore::new();
        let (one, other) = (serve(&store, one), serve(&store, other));
        let neighbour = other.clone();
        let options = options();
        let run = charge_with(&one, &options, async move {
            for _ in 0..2 {
                let refused = charge_with(&neighbour, &options, async { Ok(2) }).await;
                assert!(
                    matches!(refused, Err(RunError::Rejected(Rejection::InProgress))),
                    "{refused:?}"
                );
            }
            Ok(1)
        });
        assert_eq!(Box::pin(run).await.expect("a value"), Run::Executed(1));
        assert_eq!(value(&other, 3).await, Run::Replayed(1));
    }
}

/// The next deployment takes over a lost run with its steps and its child keys.
// proves: secret-rotation-loses-no-key, dead-owner-taken-over
#[tokio::test]
async fn what_a_failed_run_has_done_is_resumed_after_a_deployment() {
    for [one, other] in [[BEFORE, FIRST], [FIRST, SECOND], [SECOND, THIRD]] {
        let store = MemoryStore::new();
        let (one, other) = (serve(&store, one), serve(&store, other));
        let options = options();
        let failed = execute(&one, &options, async move |execution| {
            let child = execution.child_key("charge");
            let done = execution.step("charge", async { Ok::<_, Failed>(child) });
            done.await.map_err(|_| Failed)?;
            Err::<(String, String), _>(Failed)
        });
        failed.await.expect_err("the work fails after its step");
        let resumed = execute(&other, &options, async move |execution| {
            let repeated = async { Ok::<_, Failed>("again".to_owned()) };
            let done = execution
                .step("charge", repeated)
                .await
                .map_err(|_| Failed)?;
            Ok::<_, Failed>((done, execution.child_key("charge")))
        });
        let Run::Executed((done, child_key)) = resumed.await.expect("a value") else {
            panic!("it runs");
        };
        assert_eq!(done, child_key);
    }
}

/// Sealed progress is longer than the same progress as it is, and a store drops the shorter of two.
// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn no_step_is_forgotten_while_the_first_secret_is_introduced() {
    let store = MemoryStore::new();
    let first = serve(&store, |builder| builder.with_next_secret(NEW));
    let second = serve(&store, |builder| {
        builder.with_secret(NEW).with_previous_secret(b"")
    });
    let charges = Arc::new(AtomicUsize::new(0));
    for (service, reaches) in [(&first, 1), (&second, 1), (&first, 2), (&second, 2)] {
        let charges = Arc::clone(&charges);
        let options = options();
        let run = execute(service, &options, async move |execution| {
            for name in ["a", "b"].into_iter().take(reaches) {
                let charges = Arc::clone(&charges);
                let charge = async move { Ok::<_, Failed>(charges.fetch_add(1, Ordering::SeqCst)) };
                execution.step(name, charge).await.map_err(|_| Failed)?;
            }
            Err::<u32, _>(Failed)
        });
        run.await.expect_err("the work fails after its steps");
    }
    assert_eq!(charges.load(Ordering::SeqCst), 2);
}

/// During a change of the secret, each key still has only one record.
// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn one_record_stays_of_each_key() {
    for [one, other] in NEIGHBOURS {
        let store = MemoryStore::new();
        for deployment in [one, other, one] {
            let service = serve(&store, deployment);
            value(&service, 1).await;
            // The shutdown waits for claims that are withdrawn in the background.
            service.shutdown().await;
        }
        let listed = store.list(&ListRequest::new(10)).await.expect("a list");
        assert_eq!(listed.len(), 1);
    }
}

/// An operator finds a key and a customer with a service of either deployment.
// proves: secret-rotation-loses-no-key, key-state-shown
#[tokio::test]
async fn an_operator_finds_what_the_neighbours_have_stored() {
    let (label, key) = (Label::digest("ann"), key("k"));
    for [one, other] in [[FIRST, SECOND], [SECOND, FIRST]] {
        let store = MemoryStore::new();
        let (one, other) = (serve(&store, one), serve(&store, other));
        let scope = Scope::principal("ann").labelled(label.clone());
        let work = async { Ok::<_, Failed>(1) };
        let run = one.run(&scope, &key, asked("charge"), work).await;
        assert_eq!(run.expect("a value"), Run::Executed(1));
        for service in [&one, &other] {
            let mut states = Vec::new();
            for id in service.record_ids(&scope, &key) {
                states.push(service.check(&id).await.expect("a state"));
            }
            states.sort_unstable_by_key(|state| *state == KeyState::Done);
            assert_eq!(states, [KeyState::Free, KeyState::Done]);
            let mut found = 0;
            for text in service.label_texts(&label) {
                let listed = store.list(&ListRequest::new(2).labelled(&text)).await;
                found += listed.expect("a list").len();
            }
            assert_eq!(found, 1);
            assert_eq!(service.label_texts(&Label::text("ann")).len(), 1);
        }
    }
    let after = serve(&MemoryStore::new(), THIRD);
    let (scope, id) = (
        Scope::anonymous(),
        after.record_id(&Scope::anonymous(), &key),
    );
    assert_eq!(after.record_ids(&scope, &key), [id]);
    assert_eq!(*after.label_texts(&label), [after.label_text(&label)]);
}

// proves: secret-rotation-loses-no-key
#[test]
#[should_panic(expected = "one change of the secret has to end before the next one")]
fn two_concurrent_changes_are_refused() {
    drop(
        Idempotency::builder(MemoryStore::new())
            .with_secret(NEW)
            .with_previous_secret(OLD)
            .with_next_secret(b"a third one"),
    );
}

// proves: secret-rotation-loses-no-key
#[test]
#[should_panic(expected = "with_secret and with_next_secret have the same secret")]
fn a_change_to_the_same_secret_is_refused() {
    drop(serve(&MemoryStore::new(), |builder| {
        builder.with_secret(OLD).with_next_secret(OLD)
    }));
}

// proves: secret-rotation-loses-no-key
#[test]
#[should_panic(expected = "with_secret and with_previous_secret have the same secret")]
fn a_change_from_the_same_secret_is_refused() {
    drop(serve(&MemoryStore::new(), |builder| {
        builder.with_secret(OLD).with_previous_secret(OLD)
    }));
}

/// A secret that could not be read must not become none.
// proves: records-encrypted-and-purgeable
#[test]
#[should_panic(expected = "with_secret has an empty secret")]
fn an_empty_secret_is_refused() {
    drop(serve(&MemoryStore::new(), |builder| {
        builder.with_secret(b"")
    }));
}
