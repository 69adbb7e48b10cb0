//! Limits of each scope: how fast it uses new keys, and how many of its keys live.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use idempotency::{
    Clock, Idempotency, IdempotencyBuilder, MemoryStore, Options, Rejection, Run, RunError, Scope,
    Store,
    store::{Claim, ClaimRequest, ListRequest, StoreError},
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::advance,
};

use crate::{
    Failed, RunResult, asked, begun,
    delegate::{Delegate, Hooks},
    key,
    rotation::{FIRST, SECOND, serve},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A store whose claims take a while, so that concurrent ones meet.
#[derive(Debug)]
struct Slow(MemoryStore);

#[async_trait]
impl Hooks for Slow {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        yield_now().await;
        self.0.claim(request).await
    }
}

/// An engine over a store whose time passes with the runtime's.
struct Engine {
    idempotency: Idempotency,
    clock: Clock,
}

impl Engine {
    fn new(limit: impl Fn(IdempotencyBuilder) -> IdempotencyBuilder) -> Self {
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());
        Self::over(store, clock, limit)
    }

    fn over(
        store: impl Store,
        clock: Clock,
        limit: impl Fn(IdempotencyBuilder) -> IdempotencyBuilder,
    ) -> Self {
        Self {
            idempotency: limit(Idempotency::builder(store)).build(),
            clock,
        }
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
        advance(time).await;
    }

    async fn records(&self) -> usize {
        let listed = self.idempotency.store().list(&ListRequest::new(1000)).await;
        listed.expect("a list").len()
    }

    async fn run(&self, scope: &str, name: &str) -> RunResult<u32> {
        self.run_as(scope, name, "charge", async { Ok(1) }).await
    }

    async fn run_as(
        &self,
        scope: &str,
        name: &str,
        request: &str,
        work: impl Future<Output = Result<u32, Failed>> + Send + 'static,
    ) -> RunResult<u32> {
        let (scope, key) = (Scope::principal(scope), key(name));
        let options = Options::new().ttl(10 * MINUTE);
        self.idempotency
            .run_with(&options, &scope, &key, asked(request), |_| work)
            .await
    }

    /// A run that has begun, and the sender that lets it end.
    async fn begun(
        &self,
        scope: &str,
        name: &str,
    ) -> (JoinHandle<RunResult<u32>>, oneshot::Sender<()>) {
        begun(&self.idempotency, Scope::principal(scope), name).await
    }
}

fn executed(run: &RunResult<u32>) -> bool {
    matches!(run, Ok(Run::Executed(_)))
}

fn replayed(run: &RunResult<u32>) -> bool {
    matches!(run, Ok(Run::Replayed(_)))
}

/// After how long the scope may use the next new key.
#[track_caller]
fn too_fast(refused: &RunResult<u32>) -> Duration {
    match refused {
        Err(RunError::Rejected(Rejection::TooManyNewKeys { retry_after, .. })) => *retry_after,
        run => panic!("{run:?}"),
    }
}

/// After how long the first of the scope's keys expires.
#[track_caller]
fn too_many(refused: &RunResult<u32>) -> Duration {
    match refused {
        Err(RunError::Rejected(Rejection::TooManyLiveKeys { retry_after, .. })) => *retry_after,
        run => panic!("{run:?}"),
    }
}

// proves: new-keys-limited
#[tokio::test(start_paused = true)]
async fn a_scope_uses_so_many_new_keys_in_a_time_while_old_ones_replay_and_others_run() {
    let engine = Engine::new(|builder| builder.with_max_new_keys_per_scope(3, MINUTE));
    for name in ["a", "b", "c"] {
        assert!(executed(&engine.run("ann", name).await), "{name}");
    }
    let wait = too_fast(&engine.run("ann", "d").await);
    assert_eq!(wait, MINUTE / 3);
    assert_eq!(engine.records().await, 3, "nothing is stored");
    assert!(replayed(&engine.run("ann", "a").await));
    let reused = engine.run_as("ann", "a", "refund", async { Ok(2) }).await;
    assert!(matches!(reused, Err(RunError::Rejected(Rejection::Reused))));
    assert!(executed(&engine.run("bob", "a").await));

    engine.pass(wait - Duration::from_millis(1)).await;
    assert_eq!(
        too_fast(&engine.run("ann", "d").await),
        Duration::from_millis(1)
    );
    engine.pass(Duration::from_millis(1)).await;
    assert!(executed(&engine.run("ann", "d").await));
    too_fast(&engine.run("ann", "e").await);
    // What is not used is not saved up for longer than that.
    engine.pass(100 * MINUTE).await;
    for name in ["e", "f", "g"] {
        assert!(executed(&engine.run("ann", name).await), "{name}");
    }
    too_fast(&engine.run("ann", "h").await);
}

// proves: new-keys-limited
#[tokio::test(start_paused = true)]
async fn replays_duplicates_and_refusals_use_up_no_new_keys() {
    let engine = Engine::new(|builder| builder.with_max_new_keys_per_scope(2, MINUTE));
    let (run, finish) = engine.begun("ann", "a").await;
    for _ in 0..5 {
        let duplicate = engine.run("ann", "a").await;
        assert!(matches!(
            duplicate,
            Err(RunError::Rejected(Rejection::InProgress))
        ));
    }
    finish.send(()).expect("it runs");
    assert!(executed(&run.await.expect("it ends")));
    for _ in 0..5 {
        assert!(replayed(&engine.run("ann", "a").await));
        let reused = engine.run_as("ann", "a", "refund", async { Ok(2) }).await;
        assert!(matches!(reused, Err(RunError::Rejected(Rejection::Reused))));
    }
    assert!(executed(&engine.run("ann", "b").await));
    for _ in 0..5 {
        too_fast(&engine.run("ann", "c").await);
    }
    engine.pass(MINUTE / 2).await;
    assert!(executed(&engine.run("ann", "c").await));
}

// proves: new-keys-limited, live-keys-limited
#[tokio::test(start_paused = true)]
async fn at_the_limit_a_duplicate_gets_its_usual_response_and_a_lost_run_is_taken_over() {
    let engine = Engine::new(|builder| {
        builder
            .with_max_new_keys_per_scope(1, MINUTE)
            .with_max_live_keys_per_scope(1)
    });
    let (_run, _finish) = engine.begun("ann", "a").await;
    let duplicate = engine.run("ann", "a").await;
    assert!(matches!(
        duplicate,
        Err(RunError::Rejected(Rejection::InProgress))
    ));
    // Its lease expires in the store while it is not renewed.
    engine.clock.advance(Duration::from_secs(30));
    assert!(executed(&engine.run("ann", "a").await), "it is taken over");
    assert!(replayed(&engine.run("ann", "a").await));
    too_many(&engine.run("ann", "b").await);
}

// proves: live-keys-limited
#[tokio::test(start_paused = true)]
async fn a_scope_has_so_many_live_keys_until_one_expires() {
    let engine = Engine::new(|builder| builder.with_max_live_keys_per_scope(2));
    assert!(executed(&engine.run("ann", "a").await));
    engine.pass(5 * MINUTE).await;
    assert!(executed(&engine.run("ann", "b").await));
    let wait = too_many(&engine.run("ann", "c").await);
    // The store keeps a record a little longer than clients are told.
    assert!((5 * MINUTE..7 * MINUTE).contains(&wait), "{wait:?}");
    assert_eq!(engine.records().await, 2, "nothing is stored");
    for name in ["a", "b"] {
        assert!(replayed(&engine.run("ann", name).await), "{name}");
    }
    assert!(executed(&engine.run("bob", "a").await));

    engine.pass(5 * MINUTE).await;
    assert!(replayed(&engine.run("ann", "a").await), "it still lives");
    too_many(&engine.run("ann", "c").await);
    engine.pass(wait - 5 * MINUTE).await;
    assert!(executed(&engine.run("ann", "c").await));
    too_many(&engine.run("ann", "d").await);
}

// proves: live-keys-limited
#[tokio::test(start_paused = true)]
async fn a_run_that_leaves_nothing_does_not_count_and_one_that_goes_on_does() {
    let engine = Engine::new(|builder| builder.with_max_live_keys_per_scope(1));
    for _ in 0..3 {
        let failed = engine.run_as("ann", "a", "charge", async { Err(Failed) });
        assert!(matches!(failed.await, Err(RunError::Failed(Failed))));
        let panics = async { panic!("on purpose") };
        let panicked = engine.run_as("ann", "a", "charge", panics).await;
        assert!(matches!(
            panicked,
            Err(RunError::Rejected(Rejection::Panicked))
        ));
    }
    let (run, finish) = engine.begun("ann", "b").await;
    assert_eq!(too_many(&engine.run("ann", "c").await), Duration::ZERO);
    // The run goes on without its caller, and counts as before.
    run.abort();
    too_many(&engine.run("ann", "c").await);
    drop(finish);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(executed(&engine.run("ann", "c").await));
}

// proves: new-keys-limited
#[tokio::test(start_paused = true)]
async fn of_many_concurrent_new_keys_no_more_run_than_may() {
    let clock = Clock::manual();
    let store = Delegate(Slow(MemoryStore::new().with_clock(clock.clone())));
    let engine = Arc::new(Engine::over(store, clock, |builder| {
        builder.with_max_new_keys_per_scope(10, MINUTE)
    }));
    let runs: Vec<_> = (0..50)
        .map(|number| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { engine.run("ann", &number.to_string()).await })
        })
        .collect();
    let mut executed_runs = 0;
    for run in runs {
        executed_runs += usize::from(executed(&run.await.expect("it ends")));
    }
    assert_eq!(executed_runs, 10);
    assert_eq!(engine.records().await, 10);
}

/// A key is claimed under two secrets then.
// proves: new-keys-limited, live-keys-limited
#[tokio::test(start_paused = true)]
async fn while_the_secret_is_changed_a_key_counts_once() {
    for is_second in [false, true] {
        let engine = Engine::new(|builder| {
            let builder = builder
                .with_max_new_keys_per_scope(2, MINUTE)
                .with_max_live_keys_per_scope(2)
                .with_secret(b"one");
            if is_second {
                builder.with_previous_secret(b"other")
            } else {
                builder.with_next_secret(b"other")
            }
        });
        for name in ["a", "b"] {
            assert!(executed(&engine.run("ann", name).await), "{name}");
            assert!(replayed(&engine.run("ann", name).await), "{name}");
        }
        too_many(&engine.run("ann", "c").await);
        assert!(replayed(&engine.run("ann", "a").await));
        assert_eq!(engine.records().await, 2, "nothing is stored");
        engine.pass(11 * MINUTE + MINUTE / 2).await;
        assert!(executed(&engine.run("ann", "c").await));
    }
}

/// A neighbouring deployment has the key under the next secret.
// proves: new-keys-limited, running-duplicate-gets-409, other-body-refused
#[tokio::test(start_paused = true)]
async fn while_the_secret_is_changed_a_duplicate_uses_up_nothing() {
    let store = Arc::new(MemoryStore::new());
    let next = serve(&store, SECOND);
    let (run, finish) = begun(&next, Scope::principal("ann"), "k").await;
    let engine = Engine::over(store, Clock::manual(), |builder| {
        FIRST(builder).with_max_new_keys_per_scope(1, MINUTE)
    });
    let asked_for_k = async |request| engine.run_as("ann", "k", request, async { Ok(2) }).await;
    let assert_refused = async || {
        let duplicate = asked_for_k("charge").await;
        let in_progress = matches!(duplicate, Err(RunError::Rejected(Rejection::InProgress)));
        assert!(in_progress, "{duplicate:?}");
        let other = asked_for_k("refund").await;
        let reused = matches!(other, Err(RunError::Rejected(Rejection::Reused)));
        assert!(reused, "{other:?}");
    };
    for _ in 0..3 {
        assert_refused().await;
    }
    assert!(executed(&engine.run("ann", "new").await));
    // At the limit, too.
    assert_refused().await;
    finish.send(()).expect("it runs");
    assert!(executed(&run.await.expect("no panic")));
    assert!(replayed(&asked_for_k("charge").await));
}

// proves: new-keys-limited
#[test]
#[should_panic(expected = "a limit of zero")]
fn a_limit_of_zero_is_a_mistake() {
    let builder = Idempotency::builder(MemoryStore::new());
    drop(builder.with_max_new_keys_per_scope(0, MINUTE));
}
