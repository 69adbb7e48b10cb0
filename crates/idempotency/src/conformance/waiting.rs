//! How waiters learn of an end.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;

use super::{LEASE, hold_on, inspect, request, taken};
use crate::{
    Store,
    record::Phase,
    store::{Hold, IfOwner, Resolution},
};

/// More reads than a waiter needs until an end is visible, however often it polls.
const MOST_READS: usize = 200;

/// A waiter that subscribes before it reads learns of the end, however far away the store is: by a notification or by
/// polling.
pub async fn a_waiter_hears_of_the_end(store: &Arc<dyn Store>) {
    for end in END {
        let owner = taken(store, &request("book")).await;
        let waiting = tokio::spawn({
            let (store, id) = (Arc::clone(store), owner.id);
            let mut subscription = store.subscribe(&id);
            async move {
                for _ in 0..MOST_READS {
                    match inspect(&store, &id).await.map(|record| record.phase) {
                        // A run with progress is the one that was suspended.
                        Some(Phase::InFlight { progress, .. }) if progress.is_empty() => {
                            subscription.changed().await;
                        }
                        ended => return ended,
                    }
                }
                panic!("the waiter should read that the hold has ended")
            }
        });
        assert!(
            end.take(store, &owner).await,
            "the owner should end its hold"
        );
        let ended = waiting.await.expect("the waiter");
        let is_kept = matches!(end, End::Complete | End::Resolve | End::Suspend);
        assert_eq!(ended.is_some(), is_kept, "{ended:?}");
    }
}

/// If the store and the waiters are in one process, an end wakes them before the owner continues: a completion, a
/// release, a suspension, a withdrawal and both resolutions. A step that left the hold as it was wakes no waiter.
///
/// [`all`](super::all) leaves this out, because a server may take its time.
/// [`conformance_tests!`](crate::conformance_tests) runs it under `wakeups`.
pub async fn an_end_in_this_process_wakes_at_once(store: &Arc<dyn Store>) {
    let asked = request("book");
    for end in END {
        let owner = taken(store, &asked).await;
        let mut subscriptions = [store.subscribe(&owner.id), store.subscribe(&owner.id)];
        let elsewhere = taken(store, &asked).await;
        let mut unconcerned = store.subscribe(&elsewhere.id);

        let stranger = hold_on(owner.id);
        assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
        // The withdrawal of a claim that may have been won wakes the waiters, in case it was won.
        let is_withdrawal = matches!(end, End::Withdraw);
        assert!(
            is_withdrawal || !end.take(store, &stranger).await,
            "a caller that is not the owner ends nothing"
        );
        for subscription in &mut subscriptions {
            assert!(!is_ready(subscription.changed()).await, "nothing has ended");
        }
        assert!(
            end.take(store, &owner).await,
            "the owner should end its hold"
        );
        for subscription in &mut subscriptions {
            assert!(
                is_ready(subscription.changed()).await,
                "all waiters are woken"
            );
        }
        assert!(
            !is_ready(unconcerned.changed()).await,
            "waiters on other ids are not woken"
        );
    }
}

#[derive(Clone, Copy)]
enum End {
    Complete,
    Release,
    Suspend,
    Withdraw,
    Resolve,
    Free,
}

const END: [End; 6] = [
    End::Complete,
    End::Release,
    End::Suspend,
    End::Withdraw,
    End::Resolve,
    End::Free,
];

impl End {
    /// Whether the step was taken.
    async fn take(self, store: &Arc<dyn Store>, hold: &Hold) -> bool {
        match self {
            Self::Complete => {
                let completed = store.complete(hold, Bytes::new()).await;
                matches!(completed, Ok(IfOwner::Done(_)))
            }
            Self::Release => store.release(hold).await.ok() == Some(IfOwner::Done(())),
            Self::Suspend => {
                let suspended = store.suspend(hold, Bytes::from_static(b"charged")).await;
                suspended.ok() == Some(IfOwner::Done(()))
            }
            Self::Withdraw => {
                let asked = request("book");
                let withdrawn = store.withdraw(hold, &asked).await;
                withdrawn.is_ok() && inspect(store, &hold.id).await.is_none()
            }
            Self::Free => {
                let resolved = store.resolve(&hold.id, &hold.token, Resolution::Release);
                resolved.await.ok() == Some(IfOwner::Done(()))
            }
            Self::Resolve => {
                let resolution = Resolution::Complete {
                    outcome: Bytes::new(),
                    ttl: LEASE,
                };
                let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
                resolved.ok() == Some(IfOwner::Done(()))
            }
        }
    }
}

/// Whether this future is ready.
async fn is_ready(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
