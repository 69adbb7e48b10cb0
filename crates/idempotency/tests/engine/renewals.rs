//! Renewals whose replies come late or not at all, and the runtime in which they are made.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use idempotency::{
    Clock, Fingerprint, Idempotency, OnLost, Options, Run, Scope,
    store::{Claim, ClaimRequest, Hold, Token},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    Failed, asked, begun_charge, charge, charge_with,
    flaky::FlakyStore,
    key,
    watched::{WatchedStore, reaches},
};

/// The result that the same call gets in another process.
async fn claim_of_another(idempotency: &Idempotency) -> Claim {
    let store = idempotency.store();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let seen = store.inspect(&id).await.expect("a response");
    let fingerprint: Fingerprint = seen.expect("a record").fingerprint;
    let hold = Hold::new(
        id,
        Token::random(),
        Duration::from_secs(3),
        Duration::from_secs(60),
    );
    let claimed = store
        .claim(ClaimRequest::new(&hold, &fingerprint, OnLost::TakeOver))
        .await;
    claimed.expect("a response")
}

// proves: hold-lives-by-renewal, late-reply-never-two-runs
#[tokio::test(start_paused = true)]
async fn renewals_whose_responses_come_late_keep_the_lease_alive() {
    let clock = Clock::manual();
    let (store, calls) = WatchedStore::new(&clock);
    let idempotency = Idempotency::builder(store).build();
    let (finish, finished) = oneshot::channel::<()>();
    let (begun, has_begun) = oneshot::channel();
    let run = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            let work = async move {
                begun.send(()).expect("the test waits");
                finished.await.expect("a word");
                Ok(1)
            };
            charge_with(
                &idempotency,
                &Options::new().lease(Duration::from_secs(3)),
                work,
            )
            .await
        }
    });
    has_begun.await.expect("it begins");
    // Later than the lease, and later than the engine waits.
    for late in [2, 4, 7] {
        let late = Duration::from_secs(late);
        calls.renewals_take.send_replace(late);
        for _ in 0..10 {
            clock.advance(Duration::from_secs(1));
            sleep(Duration::from_secs(1)).await;
            let claim = claim_of_another(&idempotency).await;
            assert!(matches!(claim, Claim::InFlight { .. }), "{claim:?}");
        }
    }
    finish.send(()).expect("it waits");
    assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
    let retry = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(retry.ok(), Some(Run::Replayed(1)));
}

/// The lease has expired in the store, but no other run has taken over the key.
// proves: hold-lives-by-renewal, failed-completion-keeps-key
#[tokio::test(start_paused = true)]
async fn a_run_whose_renewals_fail_for_longer_than_its_lease_goes_on_and_is_stored() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let (run, finish) = begun_charge(&idempotency).await;
    store.down.store(true, Ordering::SeqCst);
    for _ in 0..40 {
        clock.advance(Duration::from_secs(1));
        sleep(Duration::from_secs(1)).await;
    }
    assert!(!run.is_finished());
    store.down.store(false, Ordering::SeqCst);
    finish.send(()).expect("it waits");
    assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
    let retry = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(retry.ok(), Some(Run::Replayed(1)));
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

// proves: hold-lives-by-renewal
#[test]
fn a_hold_is_renewed_though_other_runtimes_are_not_driven_or_end() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let (idle, ending, lasting) = (runtime(), runtime(), runtime());
    let (finish, finished) = oneshot::channel::<()>();
    let mut finished = Some(finished);
    for (runtime, name) in [(&idle, "a"), (&ending, "b"), (&lasting, "c")] {
        let (begun, has_begun) = oneshot::channel();
        let finished = finished.take_if(|_| name == "c");
        let idempotency = idempotency.clone();
        runtime.spawn(async move {
            let work = async move {
                begun.send(()).expect("the test waits");
                match finished {
                    Some(finished) => finished.await.expect("a word"),
                    None => std::future::pending().await,
                }
                Ok::<_, Failed>(1)
            };
            let (scope, key) = (Scope::anonymous(), key(name));
            drop(idempotency.run(&scope, &key, asked("x"), work).await);
        });
        runtime.block_on(has_begun).expect("it begins");
    }
    drop(ending);
    lasting.block_on(async {
        let renewed = reaches(&calls.renewals, *calls.renewals.borrow() + 3);
        let renewed = timeout(Duration::from_secs(1_000), renewed).await;
        renewed.expect("renewals in the runtime that is driven");
    });
    drop(idle);
    lasting.block_on(async {
        finish.send(()).expect("it waits");
        idempotency.shutdown().await;
    });
}

/// A claim of another runtime waits to be withdrawn there, and that runtime is not running.
// proves: dropped-future-loses-nothing, late-claim-holds-key
#[test]
fn a_claim_is_withdrawn_though_another_runtime_is_not_driven() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let options = Options::new().on_lost(OnLost::Refuse);
    let (idle, driven) = (runtime(), runtime());
    let charge = |runtime: &Runtime, name| {
        runtime.block_on(async {
            let (scope, key) = (Scope::anonymous(), key(name));
            let work = async { Ok::<_, Failed>(1) };
            let run = idempotency.run_with(&options, &scope, &key, asked("x"), |_| work);
            run.await
        })
    };
    for (runtime, name) in [(&idle, "a"), (&driven, "b")] {
        store.dies_behind_claim.store(true, Ordering::SeqCst);
        let refused = charge(runtime, name);
        assert!(refused.is_err(), "{refused:?}");
        store.down.store(false, Ordering::SeqCst);
    }
    for _ in 0..40 {
        clock.advance(Duration::from_secs(1));
        driven.block_on(async { sleep(Duration::from_secs(1)).await });
    }
    assert_eq!(charge(&driven, "b").ok(), Some(Run::Executed(1)));
}
