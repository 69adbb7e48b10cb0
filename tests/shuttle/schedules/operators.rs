//! Operators who act while a run goes on.

use idempotency::{
    Rejection,
    operators::KeyChange,
    store::{IfOwner, Resolution},
};
use tokio::spawn;

use crate::{
    client::{value, value_unless},
    search::search,
    store::Speed,
    world::{KEY, TTL, World},
};

/// The value that an operator stores.
const RESOLVED: u32 = 99;

const fn is_no_value(rejection: &Rejection) -> bool {
    matches!(
        rejection,
        Rejection::InProgress | Rejection::ResponseUnavailable
    )
}

/// Ends the run that has the key, if there is one, while two clients call.
async fn resolved(speed: Speed, resolution: fn(&World) -> Resolution) -> (World, IfOwner<()>, u32) {
    let world = World::new(speed);
    let clients = [world.client(KEY), world.client(KEY)];
    let mut done = IfOwner::NotOwner;
    if let Some(seen) = world.record().await {
        let resolved = world.engine.resolve(&seen, resolution(&world)).await;
        done = resolved.expect("a memory");
    }
    let mut values = Vec::new();
    for client in clients {
        values.extend(value_unless(client.await.expect("no abort"), is_no_value));
    }
    let stored = value(world.retry().await);
    assert!(
        values.iter().all(|value| *value == stored),
        "{values:?}, {stored}"
    );
    (world, done, stored)
}

// proves: schedules-keep-promises
#[test]
fn a_run_that_an_operator_completed_stores_nothing() {
    search(async |speed| {
        let (world, done, stored) = resolved(speed, |world| Resolution::Complete {
            outcome: world.engine.outcome_of_value(&RESOLVED),
            ttl: TTL,
        })
        .await;
        let is_resolved = done == IfOwner::Done(());
        assert_eq!(stored, if is_resolved { RESOLVED } else { 1 });
        assert_eq!(world.ledger.page(KEY).most_at_once, 1);
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn a_key_that_an_operator_freed_has_the_value_of_the_run_that_came_after() {
    search(async |speed| {
        let (world, done, _) = resolved(speed, |_| Resolution::Release).await;
        let page = world.ledger.page(KEY);
        let runs = if done == IfOwner::Done(()) { 2 } else { 1 };
        assert!(page.begun <= runs, "{page:?}");
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn a_response_that_was_erased_stays_erased() {
    search(async |speed| {
        let world = World::new(speed);
        let clients = [world.client(KEY), world.client(KEY)];
        let eraser = {
            let (engine, id) = (world.engine.clone(), world.id());
            spawn(async move { engine.erase(&id).await.expect("a memory") })
        };
        let is_erased = |rejection: &Rejection| matches!(rejection, Rejection::Erased);
        for client in clients {
            let got = value_unless(client.await.expect("no abort"), is_erased);
            assert!(matches!(got, None | Some(1)), "{got:?}");
        }
        let change = eraser.await.expect("no abort");
        let retried = value_unless(world.retry().await, is_erased);
        let is_made = change == KeyChange::Made;
        assert_eq!(retried, if is_made { None } else { Some(1) }, "{change:?}");
        assert_eq!(world.ledger.page(KEY).begun, 1);
        world.end().await;
    });
}
