//! Work that fails or panics while others wait for it.

use std::panic::resume_unwind;

use idempotency::{Rejection, RunError};
use tokio::{spawn, task::yield_now};

use crate::{
    client::{Failed, Reply, value},
    search::search,
    world::{KEY, World},
};

#[derive(Clone, Copy)]
enum First {
    Fails,
    Panics,
}

/// Runs three clients, of which the one whose work comes first is unlucky, and returns its reply.
async fn unlucky(world: &World, first: First) -> Reply {
    let client = || {
        let ledger = world.ledger.clone();
        spawn(world.call_with(KEY, async move |_| {
            let begun = ledger.begin(KEY);
            yield_now().await;
            match first {
                First::Fails if begun.number == 1 => Err(Failed),
                // Without the hook that would print a message for each schedule.
                First::Panics if begun.number == 1 => resume_unwind(Box::new("a bug")),
                _ => Ok(begun.has_effect()),
            }
        }))
    };
    let clients = [client(), client(), client()];
    let mut failed = None;
    for client in clients {
        match client.await.expect("no abort") {
            Ok(run) => assert_eq!(run.into_value(), 1),
            error => assert!(failed.replace(error).is_none(), "two clients have failed"),
        }
    }
    let page = world.ledger.page(KEY);
    assert_eq!((page.begun, page.effects, page.most_at_once), (2, 1, 1));
    assert_eq!(value(world.retry().await), 1);
    failed.expect("the first one fails")
}

// proves: schedules-keep-promises, failures-free-key
#[test]
fn a_run_that_fails_leaves_the_key_to_those_who_wait() {
    search(async |speed| {
        let world = World::new(speed);
        let reply = unlucky(&world, First::Fails).await;
        assert!(matches!(reply, Err(RunError::Failed(Failed))));
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn a_run_that_panics_leaves_the_key_to_those_who_wait() {
    search(async |speed| {
        let world = World::new(speed);
        let reply = unlucky(&world, First::Panics).await;
        let is_panic = matches!(reply, Err(RunError::Rejected(Rejection::Panicked)));
        assert!(is_panic, "{reply:?}");
        world.end().await;
    });
}
