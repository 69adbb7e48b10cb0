//! Runs without HTTP, and what becomes of them when a store or an owner fails.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, Idempotency, IdempotencyKey, MemoryStore, OnLost, Options, Run, RunError,
    Scope, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, StoreError},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    Recorded,
    delegate::{Delegate, Hooks},
};

type Answer = Result<Run<u32>, RunError<()>>;

/// What a store does in place of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    ClaimFails,
    ClaimPanics,
    ClaimHangs,
    EndFails,
}

#[derive(Debug)]
struct Faulty {
    store: MemoryStore,
    fault: Arc<Mutex<Fault>>,
}

#[async_trait]
impl Hooks for Faulty {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let fault = *self.fault.lock();
        match fault {
            Fault::ClaimFails => Err(StoreError::unreached("as it is meant to")),
            Fault::ClaimPanics => panic!("as it is meant to"),
            Fault::ClaimHangs => std::future::pending().await,
            _ => self.store.claim(request).await,
        }
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<std::time::SystemTime>, StoreError> {
        if *self.fault.lock() == Fault::EndFails {
            return Err(StoreError::unreached("as it is meant to"));
        }
        self.store.complete(hold, outcome).await
    }
}

fn faulty(clock: &Clock) -> (Idempotency, Arc<Mutex<Fault>>) {
    let fault = Arc::new(Mutex::new(Fault::None));
    let store = MemoryStore::new().with_clock(clock.clone());
    let store = Delegate(Faulty {
        store,
        fault: Arc::clone(&fault),
    });
    (Idempotency::new(Arc::new(store)), fault)
}

async fn run(idempotency: &Idempotency, options: &Options, name: &str) -> Answer {
    run_until(idempotency, options, name, async { Ok(1) }).await
}

async fn run_until(
    idempotency: &Idempotency,
    options: &Options,
    name: &str,
    work: impl Future<Output = Result<u32, ()>> + Send + 'static,
) -> Answer {
    let key = IdempotencyKey::new(name).expect("a key");
    let asked = Fingerprint::of([b"charge".as_slice()]);
    let scope = Scope::principal("ann");
    idempotency
        .run_with(options, &scope, &key, asked, |_| work)
        .await
}

// proves: outcomes-are-counted
#[tokio::test(start_paused = true)]
async fn a_request_that_its_store_fails_is_counted_so_and_the_failure_too() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let (idempotency, fault) = faulty(&Clock::manual());
    let options = Options::new();
    run(&idempotency, &options, "a").await.expect("a value");
    recorded.assert_one("executed");
    run(&idempotency, &options, "a").await.expect("a value");
    recorded.assert_one("replayed");
    let failed = run_until(&idempotency, &options, "b", async { Err(()) }).await;
    assert!(matches!(failed, Err(RunError::Failed(()))));
    recorded.assert_one("released");

    *fault.lock() = Fault::ClaimFails;
    run(&idempotency, &options, "c")
        .await
        .expect_err("a failure");
    let counted = recorded.next();
    assert_eq!(
        counted["idempotency_requests_total store_error"], 1.0,
        "{counted:?}"
    );
    assert_eq!(
        counted["idempotency_store_errors_total memory unavailable"], 1.0,
        "{counted:?}"
    );

    *fault.lock() = Fault::ClaimPanics;
    let panics = {
        let idempotency = idempotency.clone();
        tokio::spawn(async move { run(&idempotency, &Options::new(), "d").await })
    };
    assert!(panics.await.is_err_and(|error| error.is_panic()));
    recorded.assert_one("panicked");

    *fault.lock() = Fault::ClaimHangs;
    let mut leaves = Box::pin(run(&idempotency, &options, "e"));
    assert!(futures_util::poll!(&mut leaves).is_pending());
    drop(leaves);
    recorded.assert_one("abandoned");

    *fault.lock() = Fault::EndFails;
    assert_eq!(
        run(&idempotency, &options, "f").await.ok(),
        Some(Run::Executed(1))
    );
    recorded.assert_one("unstored");

    let full = Idempotency::new(MemoryStore::new().with_limit_bytes(0));
    run(&full, &options, "g").await.expect_err("a full store");
    recorded.assert_one("store_full");
}

// proves: outcomes-are-counted
#[tokio::test(start_paused = true)]
async fn lost_owners_take_overs_renewals_and_swept_records_are_counted() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let idempotency = Idempotency::builder(store)
        .with_sweep_every(Duration::from_secs(3600))
        .build();
    let (begun, has_begun) = oneshot::channel();
    let (finish, finished) = oneshot::channel::<()>();
    let late = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            let work = async move {
                begun.send(()).expect("the test waits");
                finished.await.expect("a word");
                Ok(1)
            };
            run_until(&idempotency, &Options::new(), "a", work).await
        }
    });
    has_begun.await.expect("it begins");
    // A third of the lease, after which it is renewed.
    tokio::time::sleep(Duration::from_secs(11)).await;
    let counted = recorded.next();
    assert_eq!(
        counted["idempotency_renewals_total renewed"], 1.0,
        "{counted:?}"
    );

    clock.advance(Duration::from_secs(31));
    let refusing = Options::new().on_lost(OnLost::Refuse);
    run(&idempotency, &refusing, "a")
        .await
        .expect_err("an unknown outcome");
    recorded.assert_one("outcome_unknown");
    assert_eq!(
        run(&idempotency, &Options::new(), "a").await.ok(),
        Some(Run::Executed(1))
    );
    let counted = recorded.next();
    assert_eq!(
        counted["idempotency_requests_total executed"], 1.0,
        "{counted:?}"
    );
    assert_eq!(counted["idempotency_take_overs_total"], 1.0, "{counted:?}");
    finish.send(()).expect("it waits");
    assert_eq!(late.await.expect("no panic").ok(), Some(Run::Replayed(1)));
    recorded.assert_one("lost");

    clock.advance(Duration::from_secs(2 * 24 * 3600));
    tokio::time::sleep(Duration::from_secs(3601)).await;
    let counted = recorded.next();
    assert_eq!(
        counted["idempotency_expired_records_total"], 1.0,
        "{counted:?}"
    );
}

// proves: outcomes-are-counted
#[tokio::test(start_paused = true)]
async fn how_many_records_are_left_is_shown_after_each_sweep() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let idempotency = Idempotency::builder(store)
        .with_secret(b"of this service")
        .with_sweep_every(Duration::from_secs(3600))
        .build();
    for key in ["a", "b", "c"] {
        let ran = run(&idempotency, &Options::new(), key).await;
        assert_eq!(ran.ok(), Some(Run::Executed(1)));
    }
    let counted = recorded.next();
    assert_eq!(
        counted.get("idempotency_live_records memory"),
        None,
        "{counted:?}"
    );
    tokio::time::sleep(Duration::from_secs(3601)).await;
    let counted = recorded.next();
    assert_eq!(
        counted["idempotency_live_records memory"], 3.0,
        "{counted:?}"
    );
    clock.advance(Duration::from_secs(2 * 24 * 3600));
    let ran = run(&idempotency, &Options::new(), "d").await;
    assert_eq!(ran.ok(), Some(Run::Executed(1)));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let counted = recorded.next();
    assert_eq!(
        counted["idempotency_live_records memory"], 1.0,
        "{counted:?}"
    );
}
