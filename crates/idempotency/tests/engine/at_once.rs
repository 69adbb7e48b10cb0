//! A store that claims without a future, and takes the key although its claim panics or fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use idempotency::{
    Clock, Idempotency, MemoryStore, Rejection, Run, RunError, Store,
    store::{Claim, ClaimRequest, StoreError},
};

use crate::{
    charge,
    delegate::{Delegate, Hooks},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Panic,
    LostReply,
}

#[derive(Debug)]
struct Faulty {
    store: MemoryStore,
    fault: Fault,
    is_due: AtomicBool,
}

#[async_trait::async_trait]
impl Hooks for Faulty {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        let claimed = self.store.claim_now(request);
        match self.fault {
            _ if !self.is_due.swap(false, Ordering::SeqCst) => claimed,
            Fault::Panic => panic!("after the claim"),
            Fault::LostReply => Some(Err(StoreError::unavailable("the reply was lost"))),
        }
    }
}

fn engine(fault: Fault) -> Idempotency {
    let store = Delegate(Faulty {
        store: MemoryStore::new().with_clock(Clock::manual()),
        fault,
        is_due: AtomicBool::new(true),
    });
    Idempotency::builder(Arc::new(store)).build()
}

/// The key is free again, although its lease has not expired.
async fn assert_free(idempotency: &Idempotency) {
    // The clock of the task is paused, so this ends once the withdrawal has.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let next = charge(idempotency, async { Ok(2) }).await;
    assert_eq!(next.expect("nothing has run"), Run::Executed(2));
}

// proves: dropped-future-loses-nothing
#[tokio::test(start_paused = true)]
async fn a_claim_that_panics_behind_its_effect_is_withdrawn() {
    let idempotency = engine(Fault::Panic);
    let panicked = tokio::spawn({
        let idempotency = idempotency.clone();
        async move { charge(&idempotency, async { Ok(1) }).await }
    });
    assert!(panicked.await.expect_err("it panics").is_panic());
    assert_free(&idempotency).await;
}

// proves: dropped-future-loses-nothing
#[tokio::test(start_paused = true)]
async fn a_claim_whose_reply_is_lost_at_once_is_withdrawn() {
    let idempotency = engine(Fault::LostReply);
    let refused = charge(&idempotency, async { Ok(1) }).await;
    let is_refused = matches!(&refused, Err(RunError::Rejected(Rejection::Store(_))));
    assert!(is_refused, "{refused:?}");
    assert_free(&idempotency).await;
}
