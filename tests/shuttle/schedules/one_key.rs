//! Several clients with one key, and with two.

use idempotency::{Idempotency, OnDuplicate, Rejection};
use tokio::spawn;

use crate::{
    client::{value, value_unless},
    search::search,
    world::{KEY, OPTIONS, OTHER_KEY, World, book, call},
};

// proves: schedules-keep-promises, one-atomic-claim, duplicate-may-wait, check-then-claim
#[test]
fn clients_with_one_key_get_the_response_of_one_run() {
    search(async |speed| {
        let world = World::new(speed);
        let clients: Vec<_> = (0..3).map(|_| world.client(KEY)).collect();
        for client in clients {
            assert_eq!(value(client.await.expect("no abort")), 1);
        }
        assert_eq!(world.ledger.page(KEY).begun, 1);
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn clients_with_two_keys_get_the_responses_of_two_runs() {
    search(async |speed| {
        let world = World::new(speed);
        let keys = [KEY, OTHER_KEY, OTHER_KEY, KEY];
        for client in keys.map(|key| world.client(key)) {
            assert_eq!(value(client.await.expect("no abort")), 1);
        }
        for key in [KEY, OTHER_KEY] {
            assert_eq!(world.ledger.page(key).begun, 1);
        }
        world.end().await;
    });
}

/// Nor does a retry run that is refused while the first run lasts.
// proves: schedules-keep-promises, state-decides-response
#[test]
fn a_client_that_does_not_wait_is_refused_or_gets_the_response() {
    search(async |speed| {
        let world = World::new(speed);
        let hasty = || {
            let (engine, ledger) = (world.engine.clone(), world.ledger.clone());
            let options = OPTIONS.on_duplicate(OnDuplicate::Conflict);
            spawn(call(engine, options, KEY, async move |_| {
                book(&ledger, KEY).await
            }))
        };
        let clients = [hasty(), hasty(), hasty()];
        let mut values = 0;
        for client in clients {
            let is_refusal = |rejection: &Rejection| matches!(rejection, Rejection::InProgress);
            let got = value_unless(client.await.expect("no abort"), is_refusal);
            assert!(matches!(got, None | Some(1)), "{got:?}");
            values += usize::from(got.is_some());
        }
        assert!(values > 0, "the client that ran has no response");
        assert_eq!(value(world.retry().await), 1);
        assert_eq!(world.ledger.page(KEY).begun, 1);
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn clients_of_two_processes_get_the_response_of_one_run() {
    search(async |speed| {
        let world = World::new(speed);
        let processes: [Idempotency; 2] = [world.process(|it| it), world.process(|it| it)];
        let clients = processes.clone().map(|process| {
            let ledger = world.ledger.clone();
            spawn(call(process, OPTIONS, KEY, async move |_| {
                book(&ledger, KEY).await
            }))
        });
        for client in clients {
            assert_eq!(value(client.await.expect("no abort")), 1);
        }
        assert_eq!(world.ledger.page(KEY).begun, 1);
        drop(processes);
        world.end().await;
    });
}
