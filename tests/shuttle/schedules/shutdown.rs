//! An engine that stops beside its runs and those who wait for them.

use idempotency::Rejection;
use tokio::spawn;

use crate::{
    client::{value, value_unless},
    search::search,
    world::{KEY, World},
};

// proves: schedules-keep-promises
#[test]
fn a_shutdown_ends_after_the_runs_and_keeps_nobody_waiting() {
    search(async |speed| {
        let world = World::new(speed);
        let clients = [world.client(KEY), world.client(KEY)];
        let stops = {
            let engine = world.engine.clone();
            spawn(async move { engine.shutdown().await })
        };
        let is_stopped = |rejection: &Rejection| matches!(rejection, Rejection::ShuttingDown);
        for client in clients {
            let got = value_unless(client.await.expect("no abort"), is_stopped);
            assert!(matches!(got, None | Some(1)), "{got:?}");
        }
        stops.await.expect("no abort");
        assert_eq!(value(world.retry().await), 1);
        assert_eq!(world.ledger.page(KEY).begun, 1);
        world.end().await;
    });
}
