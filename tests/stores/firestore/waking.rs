//! How duplicates in one process learn of an end in another, without notifications from Firestore.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use bytes::Bytes;
use idempotency::{
    Store,
    store::{Claim, IfOwner, Subscription},
};
use tests::servers::firestore::FirestoreEmulator;
use tokio::time::timeout;

use super::{connect, hold_on, new_hold, request, unused_project};
use crate::{claim, won};

async fn is_woken(subscription: &mut Subscription) -> bool {
    let mut changed = pin!(subscription.changed());
    poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_ready())).await
}

/// The end of a short run is noticed soon, and a long one is polled less and less often.
// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test]
async fn a_waiter_polls_less_and_less_often() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let store = connect(emulator, &unused_project()).await;
    let mut subscription = store.subscribe(&new_hold().id);
    // From here on time passes only for tasks that sleep.
    tokio::time::pause();
    let mut looks = 0;
    let looking = async {
        loop {
            subscription.changed().await;
            looks += 1;
        }
    };
    let ten_seconds = timeout(Duration::from_secs(10), looking).await;
    assert!(ten_seconds.is_err());
    // Six polls with pauses that grow from 25 ms to 800 ms, and then one a second.
    assert_eq!(looks, 6 + 8);
}

// proves: duplicate-may-wait, processes-share-store
#[tokio::test]
async fn the_first_who_sees_the_end_wakes_the_others_of_its_process() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let project = unused_project();
    let (here, there) = (
        connect(emulator, &project).await,
        connect(emulator, &project).await,
    );
    let fingerprint = request("book");
    let suspended = new_hold();
    claim(&there, &suspended, &fingerprint)
        .await
        .expect("a claim");
    let mut waiting = here.subscribe(&suspended.id);
    let running = claim(&here, &hold_on(suspended.id), &fingerprint).await;
    assert_eq!(running.ok(), Some(Claim::in_flight(fingerprint)));
    let done = there.suspend(&suspended, Bytes::new()).await;
    assert_eq!(done.ok(), Some(IfOwner::Done(())));
    assert!(!is_woken(&mut waiting).await);
    let next = claim(&here, &hold_on(suspended.id), &fingerprint).await;
    assert_eq!(next.ok(), Some(won(2)));
    assert!(is_woken(&mut waiting).await);

    let owner = new_hold();
    claim(&there, &owner, &fingerprint).await.expect("a claim");
    let mut waiting = here.subscribe(&owner.id);
    let running = claim(&here, &hold_on(owner.id), &fingerprint).await;
    assert_eq!(running.ok(), Some(Claim::in_flight(fingerprint)));
    let done = there.complete(&owner, Bytes::from_static(b"booked")).await;
    done.expect("an end");
    assert!(!is_woken(&mut waiting).await);
    let replay = claim(&here, &hold_on(owner.id), &fingerprint).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
    assert!(is_woken(&mut waiting).await);
}
