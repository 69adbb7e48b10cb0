//! What a process remembers of a document that changes while it reads.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use bytes::Bytes;
use idempotency::{
    FirestoreStore, Store,
    store::{Hold, IfOwner, StoreErrorKind},
};
use tests::servers::firestore::FirestoreEmulator;

use super::{hold_on, new_hold, request, tap::Tap, unused_project};
use crate::{claim, won};

#[derive(Clone, Copy)]
enum Step {
    Renewal,
    Checkpoint,
}

/// An older read is remembered while the owner's step is in flight. The owner then releases the key by what is
/// remembered, and must keep the token that was spent in between.
// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_read_that_is_remembered_late_loses_no_spent_token() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    for step in [Step::Renewal, Step::Checkpoint] {
        let (project, tap) = (unused_project(), Tap::start(emulator).await);
        let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
        let store = store.expect("a store");
        let (owner, asked) = (new_hold(), request("book"));
        assert_eq!(claim(&store, &owner, &asked).await.ok(), Some(won(1)));
        tap.calls();

        let duplicate = hold_on(owner.id);
        let mut looking = pin!(claim(&store, &duplicate, &asked));
        until_sent(&tap, looking.as_mut(), 1).await;
        let late = hold_on(owner.id);
        let withdrawn = store.withdraw(&late, &asked).await;
        withdrawn.expect("a withdrawal");
        tap.calls();
        let mut stepping = pin!(take(step, &store, &owner));
        until_sent(&tap, stepping.as_mut(), 2).await;
        looking.await.expect("a claim");
        assert_eq!(stepping.await, Some(IfOwner::Done(())));

        assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
        let claimed = claim(&store, &late, &asked).await;
        let kind = claimed.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    }
}

async fn take(step: Step, store: &FirestoreStore, owner: &Hold) -> Option<IfOwner<()>> {
    let taken = match step {
        Step::Renewal => store.renew(owner).await,
        Step::Checkpoint => {
            store
                .checkpoint(owner, Bytes::from_static(b"charged"))
                .await
        }
    };
    taken.ok()
}

/// Polls a call until it has sent this many requests, and then no more.
async fn until_sent(tap: &Tap, mut call: Pin<&mut impl Future>, requests: usize) {
    let mut sent = 0;
    while sent < requests {
        poll_fn(|context| {
            assert!(call.as_mut().poll(context).is_pending(), "it has ended");
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        sent += tap.calls();
    }
}
