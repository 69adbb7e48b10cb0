//! Clients that leave at any of their polls.

use idempotency::{Execution, StepError};
use tokio::spawn;

use crate::{
    client::{Failed, leave_after, value},
    ledger::Ledger,
    search::search_leaving,
    world::{CHARGE, KEY, World, book},
};

/// Whoever leaves, and whenever: the other client gets the response of the only run.
// proves: schedules-keep-promises, dropped-future-loses-nothing, run-survives-client-leaving
#[test]
fn a_client_that_leaves_keeps_the_key_from_nobody() {
    search_leaving(async |speed, polls| {
        let world = World::new(speed);
        let leaver = spawn(leave_after(polls, world.call(KEY)));
        let stayer = world.client(KEY);
        let reply = leaver.await.expect("no abort");
        assert_eq!(value(stayer.await.expect("no abort")), 1);
        let left = reply.is_none();
        reply
            .into_iter()
            .for_each(|reply| assert_eq!(value(reply), 1));
        assert_once(&world).await;
        world.end().await;
        left
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
        let reply = leaver.await.expect("no abort");
        for client in [stayer, waits] {
            assert_eq!(value(client.await.expect("no abort")), 1);
        }
        let left = reply.is_none();
        reply
            .into_iter()
            .for_each(|reply| assert_eq!(value(reply), 1));
        assert_once(&world).await;
        world.end().await;
        left
    });
}

/// The step of the run before stays, whoever takes the key over.
// proves: schedules-keep-promises, dropped-retry-deletes-steps
#[test]
fn a_client_that_leaves_during_a_take_over_keeps_the_steps() {
    search_leaving(async |speed, polls| {
        let world = World::new(speed);
        world.lose_a_run().await;
        let ledger = world.ledger.clone();
        let leaver = world.call_with(KEY, async move |run| charge_and_book(&ledger, run).await);
        let leaver = spawn(leave_after(polls, leaver));
        let ledger = world.ledger.clone();
        let stayer = world.call_with(KEY, async move |run| charge_and_book(&ledger, run).await);
        let stayer = spawn(stayer);
        let reply = leaver.await.expect("no abort");
        assert_eq!(value(stayer.await.expect("no abort")), 1);
        let left = reply.is_none();
        reply
            .into_iter()
            .for_each(|reply| assert_eq!(value(reply), 1));
        assert_eq!(world.ledger.page(CHARGE).begun, 0, "charged again");
        assert_once(&world).await;
        world.end().await;
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
        let leaver = world.call_with(KEY, async move |run| charge_and_book(&ledger, run).await);
        let leaver = spawn(leave_after(polls, leaver));
        let ledger = world.ledger.clone();
        let stayer = world.call_with(KEY, async move |run| charge_and_book(&ledger, run).await);
        let stayer = spawn(stayer);
        let reply = leaver.await.expect("no abort");
        assert_eq!(value(stayer.await.expect("no abort")), 1);
        assert_eq!(world.ledger.page(CHARGE).effects, 1);
        assert_once(&world).await;
        world.end().await;
        reply.is_none()
    });
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

/// One more retry gets the response of the only run.
async fn assert_once(world: &World) {
    assert_eq!(value(world.retry().await), 1);
    let page = world.ledger.page(KEY);
    assert_eq!((page.begun, page.most_at_once), (1, 1));
}
