//! Transactional runs, which exclude each other by locks of their process until they commit.

use idempotency::{RunError, options::RunMode};
use tokio::{spawn, task::yield_now};

use crate::{
    client::{Failed, Reply, leave_after},
    search::{search, search_leaving},
    world::{KEY, OPTIONS, World, call},
};

/// A call whose transaction fails, so that the next one runs.
fn failing(world: &World) -> impl Future<Output = Reply> + Send + use<> {
    let ledger = world.ledger.clone();
    let options = OPTIONS.mode(RunMode::Transactional);
    call(world.engine.clone(), options, KEY, async move |_| {
        let _begun = ledger.begin(KEY);
        yield_now().await;
        Err(Failed)
    })
}

// proves: schedules-keep-promises
#[test]
fn transactional_runs_of_one_key_come_one_after_another() {
    search(async |speed| {
        let world = World::new(speed);
        let clients = [(); 3].map(|()| spawn(failing(&world)));
        for client in clients {
            let reply = client.await.expect("no abort");
            assert!(matches!(reply, Err(RunError::Failed(Failed))), "{reply:?}");
        }
        let page = world.ledger.page(KEY);
        assert_eq!((page.begun, page.most_at_once), (3, 1));
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn a_client_that_leaves_a_transactional_run_keeps_the_lock_from_nobody() {
    search_leaving(async |speed, polls| {
        let world = World::new(speed);
        let leaver = spawn(leave_after(polls, failing(&world)));
        let stayer = spawn(failing(&world));
        let left = leaver.await.expect("no abort").is_none();
        let reply = stayer.await.expect("no abort");
        assert!(matches!(reply, Err(RunError::Failed(Failed))), "{reply:?}");
        assert_eq!(world.ledger.page(KEY).most_at_once, 1);
        world.end().await;
        left
    });
}
