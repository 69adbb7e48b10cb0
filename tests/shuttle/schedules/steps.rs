//! Steps of runs that fail, and steps that are dropped.

use idempotency::Execution;
use tokio::spawn;

use crate::{
    client::{Failed, leave_after, value},
    ledger::Ledger,
    search::search,
    world::{CHARGE, KEY, World, book},
};

/// Charges, in a step that is dropped after so many polls, and fails the first time.
async fn charge(ledger: Ledger, run: Execution, polls: usize) -> Result<u32, Failed> {
    let begun = ledger.begin(KEY);
    let is_first = begun.number == 1;
    let charge = {
        let ledger = ledger.clone();
        async move { book(&ledger, CHARGE).await }
    };
    let charged = leave_after(polls, run.step(CHARGE, charge)).await;
    if is_first {
        return Err(Failed);
    }
    match charged {
        Some(Ok(1)) => Ok(begun.has_effect()),
        Some(other) => panic!("not charged once: {other:?}"),
        None => Err(Failed),
    }
}

async fn charged_once(world: World, polls: usize) {
    let client = |polls| {
        let ledger = world.ledger.clone();
        spawn(world.call_with(KEY, move |run| charge(ledger, run, polls)))
    };
    let impatient = client(polls);
    assert!(impatient.await.expect("no abort").is_err());
    let clients = [client(usize::MAX), client(usize::MAX)];
    for client in clients {
        assert_eq!(value(client.await.expect("no abort")), 1);
    }
    let page = world.ledger.page(CHARGE);
    assert_eq!((page.begun, page.effects), (1, 1));
    assert_eq!(world.ledger.page(KEY).most_at_once, 1);
    world.end().await;
}

// proves: schedules-keep-promises
#[test]
fn a_step_of_a_run_that_failed_is_not_repeated() {
    search(|speed| charged_once(World::new(speed), usize::MAX));
}

// proves: schedules-keep-promises, dropped-step-overwritten, dropped-future-loses-nothing
#[test]
fn a_step_that_is_dropped_is_not_repeated() {
    for polls in 1..4 {
        search(move |speed| charged_once(World::new(speed), polls));
    }
}

/// Steps of one run at the same time are all kept.
// proves: schedules-keep-promises
#[test]
fn steps_at_the_same_time_are_all_kept() {
    const STEPS: [&str; 2] = ["charge", "notify"];
    search(async |speed| {
        let world = World::new(speed);
        let run = |fails: bool| {
            let ledger = world.ledger.clone();
            world.call_with(KEY, async move |run: Execution| {
                let steps = STEPS.map(|name| {
                    let (run, ledger) = (run.clone(), ledger.clone());
                    spawn(async move {
                        let step = async move { book(&ledger, name).await };
                        run.step(name, step).await.expect("a step")
                    })
                });
                for step in steps {
                    assert_eq!(step.await.expect("no abort"), 1);
                }
                if fails { Err(Failed) } else { Ok(1) }
            })
        };
        assert!(run(true).await.is_err());
        assert_eq!(value(run(false).await), 1);
        for name in STEPS {
            assert_eq!(world.ledger.page(name).begun, 1);
        }
        world.end().await;
    });
}
