//! Leases that lapse while their runs go on, and replies that come later than the lease.

use std::sync::atomic::Ordering;

use idempotency::Rejection;
use tokio::spawn;

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

/// Every client gets the value of the run that owns the key at the end.
// proves: schedules-keep-promises, stale-owner-writes, lost-lease-stores-nothing
#[test]
fn clients_get_one_value_although_a_lease_lapses() {
    search(async |speed| {
        let world = World::new(speed);
        let clients = [world.client(KEY), world.client(KEY), world.client(KEY)];
        let store = world.store.clone();
        let time = spawn(async move { store.pass(LAPSE) });
        let mut values = Vec::new();
        for client in clients {
            values.extend(value_unless(client.await.expect("no abort"), is_no_value));
        }
        time.await.expect("no abort");
        let stored = value(world.retry().await);
        assert!(
            values.iter().all(|value| *value == stored),
            "{values:?}, {stored}"
        );
        let page = world.ledger.page(KEY);
        assert_eq!(page.begun, page.effects);
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
