//! Leases that lapse while their runs go on, and replies that come later than the lease.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use idempotency::{Execution, Rejection};
use tokio::{spawn, task::yield_now};

use crate::{
    client::{value, value_unless},
    search::search,
    world::{KEY, LAPSE, World},
};

/// What a client may be told in place of a value: it has lost its key, and there is no value yet.
const fn is_no_value(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::InProgress | Rejection::ResponseUnavailable
    )
}

/// Whoever owns the key at the end, its value is everybody's.
// proves: schedules-keep-promises, stale-owner-writes, lost-lease-stores-nothing
#[test]
fn clients_get_one_value_although_a_lease_lapses() {
    search(async |speed| {
        let world = World::new(speed);
        let last_attempt = Arc::new(AtomicU32::new(0));
        let client = || {
            let last_attempt = Arc::clone(&last_attempt);
            spawn(world.call_with(KEY, async move |run: Execution| {
                last_attempt.fetch_max(run.attempt(), Ordering::Relaxed);
                yield_now().await;
                Ok(run.attempt())
            }))
        };
        let clients = [client(), client(), client()];
        let store = world.store.clone();
        let time = spawn(async move { store.pass(LAPSE) });
        let mut values = Vec::new();
        for client in clients {
            values.extend(value_unless(client.await.expect("no abort"), is_no_value));
        }
        time.await.expect("no abort");
        let stored = value(world.retry().await);
        // A run that was taken over completes nothing.
        assert_eq!(stored, last_attempt.load(Ordering::Relaxed));
        assert!(
            values.iter().all(|value| *value == stored),
            "{values:?}, {stored}"
        );
        world.end().await;
    });
}

// proves: schedules-keep-promises, late-reply-never-two-runs, late-reply-two-runs
#[test]
fn a_claim_whose_reply_is_later_than_its_lease_begins_no_second_run() {
    search(async |speed| {
        let world = World::new(speed);
        world.store.is_late.store(true, Ordering::Relaxed);
        let clients = [world.client(KEY), world.client(KEY)];
        let mut values = Vec::new();
        for client in clients {
            values.extend(value_unless(client.await.expect("no abort"), is_no_value));
        }
        assert_eq!(value(world.retry().await), 1);
        assert!(values.iter().all(|value| *value == 1), "{values:?}");
        let page = world.ledger.page(KEY);
        assert_eq!((page.begun, page.most_at_once), (1, 1));
        world.end().await;
    });
}

/// One of those who come for the key of a dead process takes it over, with its step.
// proves: schedules-keep-promises, dead-owner-taken-over
#[test]
fn one_client_takes_over_from_a_dead_process() {
    search(async |speed| {
        let world = World::new(speed);
        world.lose_a_run().await;
        let clients = [world.client(KEY), world.client(KEY), world.client(KEY)];
        for client in clients {
            assert_eq!(value(client.await.expect("no abort")), 1);
        }
        let page = world.ledger.page(KEY);
        assert_eq!((page.begun, page.most_at_once), (1, 1));
        world.end().await;
    });
}
