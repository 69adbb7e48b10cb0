//! How waiters are woken, and how often they poll. The clock is tokio's own, which advances only
//! while every task sleeps.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use idempotency::store::{Polling, RecordId, Subscription, Token, Wakeups};
use tokio::time::Instant;

const ID: RecordId = RecordId::from_bytes([7; 32]);

fn backing_off() -> Polling {
    Polling::backing_off(Duration::from_millis(25), Duration::from_secs(1))
}

/// How many milliseconds pass before each of the next polls.
async fn pauses<const LOOKS: usize>(subscription: &mut Subscription) -> [u128; LOOKS] {
    let mut pauses = [0; LOOKS];
    for pause in &mut pauses {
        let before = Instant::now();
        subscription.changed().await;
        *pause = before.elapsed().as_millis();
    }
    pauses
}

async fn is_woken(subscription: &mut Subscription) -> bool {
    let mut changed = pin!(subscription.changed());
    poll_fn(|context| Poll::Ready(changed.as_mut().poll(context).is_ready())).await
}

// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_not_woken_polls_less_and_less_often() {
    let wakeups = Wakeups::default();
    let mut subscription = wakeups.subscribe(&ID, backing_off());
    assert_eq!(
        pauses(&mut subscription).await,
        [25, 50, 100, 200, 400, 800, 1000, 1000]
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_change_the_pauses_start_anew() {
    let wakeups = Wakeups::default();
    let mut subscription = wakeups.subscribe(&ID, backing_off());
    assert_eq!(pauses(&mut subscription).await, [25, 50, 100]);
    wakeups.wake(&ID);
    assert_eq!(pauses(&mut subscription).await, [0, 25, 50]);
}

#[tokio::test(start_paused = true)]
async fn a_floor_is_always_the_same() {
    let wakeups = Wakeups::default();
    let mut subscription = wakeups.subscribe(&ID, Polling::every(Duration::from_secs(1)));
    assert_eq!(pauses(&mut subscription).await, [1000, 1000, 1000]);
    wakeups.wake(&ID);
    assert_eq!(pauses(&mut subscription).await, [0, 1000, 1000]);
}

/// A poll whose waiter has left has no effect.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_dropped_does_not_count_as_a_poll() {
    let wakeups = Wakeups::default();
    let mut subscription = wakeups.subscribe(&ID, backing_off());
    assert!(!is_woken(&mut subscription).await);
    assert_eq!(pauses(&mut subscription).await, [25, 50]);
}

// proves: duplicate-may-wait
#[tokio::test(start_paused = true)]
async fn what_one_who_waits_has_seen_wakes_the_others() {
    let wakeups = Wakeups::default();
    let elsewhere = RecordId::from_bytes([8; 32]);
    let mut subscriptions = [ID, ID, elsewhere].map(|id| wakeups.subscribe(&id, backing_off()));
    let (first, second) = (Token::random(), Token::random());
    let mut woken_by = async |owner: Option<&Token>| {
        wakeups.saw(&ID, owner);
        let mut woken = [false; 3];
        for (subscription, woken) in subscriptions.iter_mut().zip(&mut woken) {
            *woken = is_woken(subscription).await;
        }
        woken
    };
    // The first owner that is seen is not a change, nor is one that has been seen before.
    assert_eq!(woken_by(Some(&first)).await, [false; 3]);
    assert_eq!(woken_by(Some(&first)).await, [false; 3]);
    assert_eq!(woken_by(Some(&second)).await, [true, true, false]);
    assert_eq!(woken_by(Some(&second)).await, [false; 3]);
    assert_eq!(woken_by(None).await, [true, true, false]);
    assert_eq!(woken_by(None).await, [false; 3]);
}
