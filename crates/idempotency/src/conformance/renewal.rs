//! A renewal that races with another step of the same owner only moves the lease.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Barrier;

use super::{inspect, request, taken};
use crate::{
    Store,
    record::Phase,
    store::{Hold, IfOwner, StoreError},
};

/// How often each pair of steps is sent concurrently.
pub(super) const ROUNDS: usize = 16;

/// A renewal that reads the record and then writes it must not overwrite a completion in between.
pub async fn a_renewal_undoes_no_completion(store: &Arc<dyn Store>) {
    let outcome = Bytes::from_static(b"booked");
    for _ in 0..ROUNDS {
        let hold = taken(store, &request("book")).await;
        let ending = async {
            let completed = store.complete(&hold, outcome.clone()).await;
            assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
        };
        at_one_time(store, &hold, ending).await;
        let phase = inspect(store, &hold.id).await.map(|record| record.phase);
        let outcome = outcome.clone();
        assert_eq!(phase, Some(Phase::Completed { outcome }));
    }
}

/// A renewal does not undo a release.
pub async fn a_renewal_undoes_no_release(store: &Arc<dyn Store>) {
    for _ in 0..ROUNDS {
        let hold = taken(store, &request("book")).await;
        let ending = async {
            assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::Done(())));
        };
        at_one_time(store, &hold, ending).await;
        assert_eq!(inspect(store, &hold.id).await, None);
    }
}

/// A renewal does not lose progress that is stored meanwhile.
pub async fn a_renewal_forgets_no_progress(store: &Arc<dyn Store>) {
    let charged = Bytes::from_static(b"charged");
    for _ in 0..ROUNDS {
        let hold = taken(store, &request("book")).await;
        let keeping = async {
            let kept = store.checkpoint(&hold, charged.clone()).await;
            assert_eq!(kept.ok(), Some(IfOwner::Done(())));
        };
        at_one_time(store, &hold, keeping).await;
        match inspect(store, &hold.id).await.map(|record| record.phase) {
            Some(Phase::InFlight { progress, .. }) => assert_eq!(progress, charged),
            other => panic!("the hold should be in flight, but is {other:?}"),
        }
    }
}

/// Sends a renewal of this hold concurrently with the other step.
async fn at_one_time(store: &Arc<dyn Store>, hold: &Hold, other: impl Future<Output = ()>) {
    let (store, hold) = (Arc::clone(store), hold.clone());
    let renewing = async move { store.renew(&hold).await.map(drop) };
    concurrently(renewing, other).await;
}

/// Sends both steps concurrently.
pub(super) async fn concurrently(
    step: impl Future<Output = Result<(), StoreError>> + Send + 'static,
    other: impl Future<Output = ()>,
) {
    let start = Arc::new(Barrier::new(2));
    let stepping = tokio::spawn({
        let start = Arc::clone(&start);
        async move {
            start.wait().await;
            step.await
        }
    });
    start.wait().await;
    other.await;
    let done = stepping.await.expect("no panic");
    done.expect("the step is taken, or the hold has ended");
}
