//! Clients that leave at any of their polls.

use idempotency::{Execution, StepError};
use tokio::{spawn, task::JoinHandle};

use crate::{
    client::{Failed, Reply, leave_after, value},
    ledger::Ledger,
    search::search_leaving,
    world::{CHARGE, KEY, World, book},
};

/// Whenever a client leaves, the other client gets the response of the only run.
// proves: schedules-keep-promises, dropped-future-loses-nothing, run-survives-client-leaving
#[test]
fn a_client_that_leaves_keeps_the_key_from_nobody() {
    search_leaving(async |speed, polls| {
        let world = World::new(speed);
        let leaver = spawn(leave_after(polls, world.call(KEY)));
        let stayer = world.client(KEY);
        all_get_the_response_of_one_run(world, leaver, [stayer]).await
    });
}

/// The client that leaves waits for the other one's run.
// proves: schedules-keep-promises
#[test]
fn a_client_that_leaves_while_it_waits_harms_no_run() {
    search_leaving(async |speed, polls| {
        let world = World::new(speed);
        let stayer = world.client(KEY);
        let leaver = spawn(leave_after(polls, world.call(KEY)));
        let waits = world.client(KEY);
        all_get_the_response_of_one_run(world, leaver, [stayer, waits]).await
    });
}

/// The step of the run before stays, whichever client takes the key over.
// proves: schedules-keep-promises, dropped-retry-deletes-steps
#[test]
fn a_client_that_leaves_during_a_take_over_keeps_the_steps() {
    search_leaving(async |speed, polls| {
        let world = World::new(speed);
        world.lose_a_run().await;
        let ledger = world.ledger.clone();
        let leaver = spawn(leave_after(polls, charging(&world)));
        let stayer = spawn(charging(&world));
        let left = all_get_the_response_of_one_run(world, leaver, [stayer]).await;
        assert_eq!(ledger.page(CHARGE).begun, 0, "charged again");
        left
    });
}

/// What a run has begun it ends, also a step.
// proves: schedules-keep-promises
#[test]
fn a_client_that_leaves_during_a_step_does_not_repeat_it() {
    search_leaving(async |speed, polls| {
        let world = World::new(speed);
        let ledger = world.ledger.clone();
        let leaver = spawn(leave_after(polls, charging(&world)));
        let stayer = spawn(charging(&world));
        let left = all_get_the_response_of_one_run(world, leaver, [stayer]).await;
        assert_eq!(ledger.page(CHARGE).effects, 1);
        left
    });
}

/// A call whose work has a step.
fn charging(world: &World) -> impl Future<Output = Reply> + Send + use<> {
    let ledger = world.ledger.clone();
    world.call_with(KEY, async move |run| charge_and_book(&ledger, run).await)
}

async fn charge_and_book(ledger: &Ledger, run: Execution) -> Result<u32, Failed> {
    let charged = {
        let ledger = ledger.clone();
        async move { book(&ledger, CHARGE).await }
    };
    match run.step(CHARGE, charged).await {
        Ok(_) => book(ledger, KEY).await,
        Err(StepError::Failed(failed)) => Err(failed),
        Err(error) => panic!("no step: {error}"),
    }
}

/// Each client that stays, and one more retry, get the response of the only run. Returns whether the leaver has left.
async fn all_get_the_response_of_one_run(
    world: World,
    leaver: JoinHandle<Option<Reply>>,
    others: impl IntoIterator<Item = JoinHandle<Reply>>,
) -> bool {
    let reply = leaver.await.expect("no abort");
    for other in others {
        assert_eq!(value(other.await.expect("no abort")), 1);
    }
    let left = reply.is_none();
    for reply in reply.into_iter().chain([world.retry().await]) {
        assert_eq!(value(reply), 1);
    }
    let page = world.ledger.page(KEY);
    assert_eq!((page.begun, page.most_at_once), (1, 1));
    world.end().await;
    left
}
