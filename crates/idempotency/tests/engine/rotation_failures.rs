//! Services that are paused, late or lost while the secret is changed.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use async_trait::async_trait;
use idempotency::{
    Clock, Fingerprint, Idempotency, MemoryStore, OnDuplicate, OnLost, Options, Rejection, Run,
    RunError, Store,
    store::{Claim, ClaimRequest, Hold, ListRequest, Phase, Record, RecordId, StoreError, Token},
};
use tokio::{runtime::Runtime, sync::Notify};

use super::{Failed, begun_charge, charge_with, execute};
use crate::{
    delegate::{Delegate, Hooks},
    rotation::{BEFORE, Deployment, FIRST, SECOND, THIRD, options, serve, value},
    watched::{WatchedStore, reaches},
};

const LEASE: Duration = Duration::from_secs(1);

fn leased() -> Options {
    options().lease(LEASE)
}

/// How a run notices that it has lost its key.
#[derive(Clone, Copy, Debug)]
enum Notices {
    AtItsEnd,
    AfterAStep,
    ByItsRenewal,
}

/// Its key is free again, and what has happened meanwhile is under the other secret.
// proves: secret-rotation-runs-once, lost-lease-stores-nothing
#[tokio::test(start_paused = true)]
async fn a_late_run_does_not_win_its_key_back_after_the_neighbours_have_served_it() {
    let cases: [(Deployment, [Deployment; 2]); 2] =
        [(FIRST, [SECOND, SECOND]), (SECOND, [SECOND, FIRST])];
    for (late, neighbours) in cases {
        for notices in [
            Notices::AtItsEnd,
            Notices::AfterAStep,
            Notices::ByItsRenewal,
        ] {
            let clock = Clock::manual();
            let (store, calls) = WatchedStore::new(&clock);
            let late = serve(&store, late);
            let [fails, serves] = neighbours.map(|neighbour| serve(&store, neighbour));
            let options = leased();
            let run = execute(&late, &options, async move |execution| {
                clock.advance(2 * LEASE);
                let failed = charge_with(&fails, &options, async { Err::<u32, _>(Failed) });
                failed.await.expect_err("it leaves the key free");
                assert_eq!(value(&serves, 2).await, Run::Executed(2));
                match notices {
                    Notices::AtItsEnd => {}
                    Notices::AfterAStep => {
                        let step = execution.step("charge", async { Ok::<_, Failed>(1) });
                        step.await.map_err(|_| Failed)?;
                    }
                    Notices::ByItsRenewal => {
                        let claims = *calls.claims.borrow();
                        let renewals = *calls.renewals.borrow();
                        reaches(&calls.renewals, renewals + 1).await;
                        tokio::time::sleep(LEASE).await;
                        assert_eq!(*calls.claims.borrow(), claims);
                    }
                }
                Ok::<_, Failed>(1)
            });
            let run = Box::pin(run).await;
            assert_eq!(run.expect("a value"), Run::Replayed(2), "{notices:?}");
        }
    }
}

/// A store whose process is paused after its first claim, until the hold has expired and another service has served the key.
#[derive(Debug)]
struct PausedAfterClaim {
    store: MemoryStore,
    clock: Clock,
    neighbour: Idempotency,
    claims: AtomicUsize,
}

#[async_trait]
impl Hooks for PausedAfterClaim {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let claimed = self.store.claim(request).await;
        if self.claims.fetch_add(1, Ordering::SeqCst) == 0 {
            self.clock.advance(2 * LEASE);
            assert_eq!(value(&self.neighbour, 2).await, Run::Executed(2));
        }
        claimed
    }
}

// proves: secret-rotation-runs-once
#[tokio::test]
async fn a_process_that_was_paused_between_its_two_claims_does_not_run() {
    for neighbour in [FIRST, SECOND] {
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());
        let paused = Delegate(PausedAfterClaim {
            store: store.clone(),
            clock,
            neighbour: serve(&store, neighbour),
            claims: AtomicUsize::new(0),
        });
        let paused = serve(&Arc::new(paused), SECOND);
        let late = charge_with(&paused, &leased(), async { Ok(1) }).await;
        assert!(
            matches!(
                late,
                Ok(Run::Replayed(2)) | Err(RunError::Rejected(Rejection::InProgress))
            ),
            "{late:?}"
        );
        paused.shutdown().await;
        for deployment in [FIRST, SECOND] {
            let again = value(&serve(&store, deployment), 3).await;
            assert_eq!(again, Run::Replayed(2));
        }
        let listed = store.list(&ListRequest::new(2)).await.expect("a list");
        assert_eq!(listed.len(), 1);
    }
}

/// The store of a process that dies at its second claim.
#[derive(Debug)]
struct Dying {
    store: MemoryStore,
    claims: AtomicUsize,
    is_dead: Arc<Notify>,
}

#[async_trait]
impl Hooks for Dying {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        if self.claims.fetch_add(1, Ordering::SeqCst) == 0 {
            return self.store.claim(request).await;
        }
        self.is_dead.notify_one();
        pending().await
    }

    async fn withdraw(&self, _: &Hold, _: &Fingerprint) -> Result<(), StoreError> {
        pending().await
    }
}

/// A service of the second deployment claims the key under the old secret, and dies.
async fn die_between_the_claims(store: &MemoryStore) {
    let is_dead = Arc::new(Notify::new());
    let dying = Delegate(Dying {
        store: store.clone(),
        claims: AtomicUsize::new(0),
        is_dead: Arc::clone(&is_dead),
    });
    let dying = serve(&Arc::new(dying), SECOND);
    let dead = tokio::spawn(async move { value(&dying, 0).await });
    is_dead.notified().await;
    dead.abort();
}

/// Otherwise its claim would be taken for a run that was lost under the old secret, and be resumed there.
// proves: secret-rotation-runs-once, secret-rotation-loses-no-key
#[tokio::test]
async fn a_service_that_dies_between_its_two_claims_leaves_nothing_to_resume() {
    for neighbour in [FIRST, SECOND] {
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());
        die_between_the_claims(&store).await;
        let neighbour = serve(&store, neighbour);
        let refused = charge_with(&neighbour, &options(), async { Ok(1) }).await;
        assert!(
            matches!(refused, Err(RunError::Rejected(Rejection::InProgress))),
            "{refused:?}"
        );
        clock.advance(Duration::from_secs(31));
        let options = options();
        let run = execute(&neighbour, &options, async |execution| {
            Ok::<_, Failed>(execution.attempt())
        });
        assert_eq!(run.await.expect("a value"), Run::Executed(1));
        assert_eq!(value(&serve(&store, SECOND), 2).await, Run::Replayed(1));
    }
}

/// The third deployment does not read what is stored under the old secret.
// proves: secret-rotation-runs-once
#[tokio::test]
async fn a_run_after_a_death_between_the_two_claims_is_replayed_by_the_next_deployment() {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    die_between_the_claims(&store).await;
    clock.advance(Duration::from_secs(31));
    assert_eq!(value(&serve(&store, SECOND), 1).await, Run::Executed(1));
    assert_eq!(value(&serve(&store, THIRD), 2).await, Run::Replayed(1));
}

/// It keeps its steps for a ttl, also when the process that resumes it dies.
// proves: secret-rotation-loses-no-key, dead-owner-taken-over
#[tokio::test]
async fn a_run_that_is_resumed_under_the_old_secret_has_its_whole_ttl() {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let (first, second) = (serve(&store, FIRST), serve(&store, SECOND));
    let options = options();
    let failed = execute(&first, &options, async |execution| {
        let step = execution.step("charge", async { Ok::<_, Failed>(1) });
        step.await.map_err(|_| Failed)?;
        Err::<u32, _>(Failed)
    });
    failed.await.expect_err("the work fails after its step");
    let run = execute(&second, &options, async move |_| {
        let listed = store.list(&ListRequest::new(2)).await.expect("a list");
        let [listed] = &listed[..] else {
            panic!("one record");
        };
        let record = listed.record.as_ref().expect("a record");
        let Phase::InFlight { lease_until, .. } = record.phase else {
            panic!("it runs");
        };
        assert!(record.expires_at >= lease_until + Duration::from_secs(3600));
        Ok::<_, Failed>(1)
    });
    assert_eq!(run.await.expect("a value"), Run::Executed(1));
}

/// A wait may be longer than a lease, so a waiter holds no claim that could expire meanwhile.
// proves: secret-rotation-runs-once, duplicate-may-wait
#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waits_holds_nothing_under_the_old_secret() {
    for waits in [FIRST, SECOND] {
        let store = MemoryStore::new();
        let (run, finish) = begun_charge(&serve(&store, SECOND)).await;
        let service = serve(&store, waits);
        let waiter = tokio::spawn(async move {
            let options = options().on_duplicate(OnDuplicate::Wait);
            charge_with(&service, &options, async { Ok(2) }).await
        });
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!waiter.is_finished());
            let listed = store.list(&ListRequest::new(2)).await.expect("a list");
            assert_eq!(listed.len(), 1);
        }
        finish.send(()).expect("it waits");
        assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
        let waited = waiter.await.expect("no panic");
        assert_eq!(waited.expect("a value"), Run::Replayed(1));
    }
}

// proves: duplicate-may-wait
#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_no_longer_than_its_patience_during_a_change_of_the_secret() {
    for waits in [FIRST, SECOND] {
        let store = MemoryStore::new();
        let (run, finish) = begun_charge(&serve(&store, SECOND)).await;
        let options = options().on_duplicate(OnDuplicate::Wait);
        let refused = charge_with(&serve(&store, waits), &options, async { Ok(2) }).await;
        assert!(
            matches!(refused, Err(RunError::Rejected(Rejection::InProgress))),
            "{refused:?}"
        );
        finish.send(()).expect("it waits");
        assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
    }
}

/// A store whose process is paused once: after the second read, until the hold has expired and another service has served the key.
#[derive(Debug)]
struct PausedProcess {
    store: MemoryStore,
    clock: Clock,
    reads: AtomicUsize,
}

#[async_trait]
impl Hooks for PausedProcess {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let found = self.store.inspect(id).await;
        if self.reads.fetch_add(1, Ordering::SeqCst) == 1 {
            // Nothing of this process runs meanwhile: no timer, no heartbeat.
            thread::sleep(LEASE / 2);
            self.clock.advance(2 * LEASE);
            let service = serve(&self.store, SECOND);
            let served = async move {
                let fails = async { Err::<u32, _>(Failed) };
                let failed = charge_with(&service, &options(), fails).await;
                failed.expect_err("it leaves the key free");
                assert_eq!(value(&service, 2).await, Run::Executed(2));
            };
            let runtime = Runtime::new().expect("a runtime");
            thread::spawn(move || runtime.block_on(served))
                .join()
                .expect("served");
        }
        found
    }
}

/// It may not claim the free key again: its own secret does not show what has happened under the next one.
// proves: secret-rotation-runs-once, lost-lease-stores-nothing
#[tokio::test]
async fn a_process_that_was_paused_before_its_run_does_not_run_after_the_next_deployment_has() {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let paused = Delegate(PausedProcess {
        store: store.clone(),
        clock,
        reads: AtomicUsize::new(0),
    });
    let first = FIRST(Idempotency::builder(paused)).build();
    let options = options().lease(LEASE);
    let late = charge_with(&first, &options, async { Ok(1) }).await;
    assert!(
        matches!(late, Err(RunError::Rejected(Rejection::InProgress))),
        "{late:?}"
    );
    assert_eq!(value(&serve(&store, FIRST), 3).await, Run::Replayed(2));
}

/// A service of the second deployment that dies between its two claims leaves the first one.
// proves: secret-rotation-loses-no-key, secret-rotation-runs-once
#[tokio::test]
async fn a_claim_that_a_dead_service_left_under_the_old_secret_hides_no_response() {
    for on_lost in [OnLost::TakeOver, OnLost::Refuse] {
        let clock = Clock::manual();
        let store = MemoryStore::new().with_clock(clock.clone());
        let second = serve(&store, SECOND);
        assert_eq!(value(&second, 1).await, Run::Executed(1));
        abandon(&store).await;
        clock.advance(Duration::from_secs(31));
        for deployment in [FIRST, SECOND] {
            let service = serve(&store, deployment);
            let options = options().on_lost(on_lost);
            let again = charge_with(&service, &options, async { Ok(2) }).await;
            assert_eq!(again.expect("a value"), Run::Replayed(1));
        }
    }
}

/// Claims the key under the old secret, and never ends it.
async fn abandon(store: &MemoryStore) {
    let scratch = MemoryStore::new();
    let before = serve(&scratch, BEFORE);
    assert_eq!(value(&before, 0).await, Run::Executed(0));
    let [listed] = &scratch.list(&ListRequest::new(2)).await.expect("a list")[..] else {
        panic!("one record");
    };
    let record = listed.record.as_ref().expect("a record");
    let fingerprint: Fingerprint = record.fingerprint;
    let hold = Hold::new(
        record.id,
        Token::random(),
        Duration::from_secs(30),
        Duration::from_secs(3600),
    );
    let request = ClaimRequest::new(&hold, &fingerprint, OnLost::TakeOver);
    store.claim(request).await.expect("a claim");
}
