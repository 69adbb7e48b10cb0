//! Replies of the store that are lost, each once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use idempotency::{Execution, Rejection, RunError};
use tokio::{
    spawn,
    task::{JoinHandle, yield_now},
};

use crate::{
    client::{Failed, Reply, value, value_unless},
    search::search,
    store::{Lost, Speed},
    world::{CHARGE, KEY, World, book},
};

/// Time, which passes until all clients have their responses: the engine repeats a call after a pause.
struct Passing {
    task: JoinHandle<()>,
    ends: Arc<AtomicBool>,
}

impl Passing {
    fn start(world: &World) -> Self {
        let (store, ends) = (world.store.clone(), Arc::new(AtomicBool::new(false)));
        let has_ended = Arc::clone(&ends);
        let task = spawn(async move {
            while !has_ended.load(Ordering::Relaxed) {
                store.pass(Duration::from_millis(10));
                yield_now().await;
            }
        });
        Self { task, ends }
    }

    async fn end(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.task.await.expect("no abort");
    }
}

/// Work with a step, which fails the first time.
fn charged(world: &World, fails: bool) -> JoinHandle<Reply> {
    let ledger = world.ledger.clone();
    spawn(world.call_with(KEY, async move |run: Execution| {
        let charge = {
            let ledger = ledger.clone();
            async move { book(&ledger, CHARGE).await }
        };
        run.step(CHARGE, charge).await.expect("a step");
        let begun = ledger.begin(KEY);
        yield_now().await;
        if fails && begun.number == 1 {
            return Err(Failed);
        }
        Ok(begun.has_effect())
    }))
}

async fn loses(speed: Speed, lost: Lost) {
    let world = World::new(speed);
    world.store.lose(lost);
    let fails = matches!(lost, Lost::Suspend);
    let clients = [charged(&world, fails), charged(&world, fails)];
    let time = Passing::start(&world);
    // The run that fails may learn too late that it is suspended: another one has the key by then.
    let is_taken = |rejection: &Rejection| fails && matches!(rejection, Rejection::InProgress);
    for client in clients {
        match client.await.expect("no abort") {
            Err(RunError::Failed(Failed)) if fails => {}
            reply => assert!(matches!(value_unless(reply, is_taken), None | Some(1))),
        }
    }
    time.end().await;
    assert_eq!(value(world.retry().await), 1);
    let (page, charged) = (world.ledger.page(KEY), world.ledger.page(CHARGE));
    assert_eq!((page.effects, page.most_at_once), (1, 1));
    assert_eq!(charged.begun, 1);
    world.end().await;
}

/// The client is told to come again, and the key is free for others.
// proves: schedules-keep-promises
#[test]
fn a_claim_whose_reply_is_lost_keeps_the_key_from_nobody() {
    search(async |speed| {
        let world = World::new(speed);
        world.store.lose(Lost::Claim);
        let clients = [world.client(KEY), world.client(KEY), world.client(KEY)];
        let is_lost = |rejection: &Rejection| matches!(rejection, Rejection::Store(_));
        let mut values = Vec::new();
        for client in clients {
            values.extend(value_unless(client.await.expect("no abort"), is_lost));
        }
        assert_eq!(values, [1, 1]);
        assert_eq!(value(world.retry().await), 1);
        assert_eq!(world.ledger.page(KEY).begun, 1);
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn a_completion_whose_reply_is_lost_is_repeated() {
    search(|speed| loses(speed, Lost::Complete));
}

// proves: schedules-keep-promises
#[test]
fn a_step_whose_reply_is_lost_is_kept_once() {
    search(|speed| loses(speed, Lost::Checkpoint));
}

// proves: schedules-keep-promises
#[test]
fn a_suspension_whose_reply_is_lost_is_repeated() {
    search(|speed| loses(speed, Lost::Suspend));
}

/// The failed run has no steps.
// proves: schedules-keep-promises
#[test]
fn a_release_whose_reply_is_lost_is_repeated() {
    search(async |speed| {
        let world = World::new(speed);
        world.store.lose(Lost::Release);
        let client = || {
            let ledger = world.ledger.clone();
            spawn(world.call_with(KEY, async move |_| {
                let begun = ledger.begin(KEY);
                yield_now().await;
                match begun.number {
                    1 => Err(Failed),
                    _ => Ok(begun.has_effect()),
                }
            }))
        };
        let clients = [client(), client()];
        let time = Passing::start(&world);
        for client in clients {
            if let Ok(run) = client.await.expect("no abort") {
                assert_eq!(run.into_value(), 1);
            }
        }
        time.end().await;
        assert_eq!(value(world.retry().await), 1);
        let page = world.ledger.page(KEY);
        assert_eq!((page.begun, page.most_at_once), (2, 1));
        world.end().await;
    });
}
