//! Services of two deployments, while the secret is being changed.

use tokio::spawn;

use crate::{
    client::{leave_after, value},
    search::{search, search_leaving},
    store::Speed,
    world::{KEY, OPTIONS, World, book, call},
};

const OLD: &[u8] = b"the old secret";
const NEW: &[u8] = b"the new secret";

/// Two clients of two deployments, of which the first one leaves after so many polls. Returns whether it did.
async fn deployments(speed: Speed, polls: usize) -> bool {
    let world = World::new(speed);
    let first = world.process(|it| it.with_secret(OLD).with_next_secret(NEW));
    let second = world.process(|it| it.with_secret(NEW).with_previous_secret(OLD));
    let client = |engine| {
        let ledger = world.ledger.clone();
        call(engine, OPTIONS, KEY, async move |_| {
            book(&ledger, KEY).await
        })
    };
    let leaver = spawn(leave_after(polls, client(first.clone())));
    let stayer = spawn(client(second.clone()));
    let reply = leaver.await.expect("no abort");
    let left = reply.is_none();
    reply
        .into_iter()
        .for_each(|reply| assert_eq!(value(reply), 1));
    assert_eq!(value(stayer.await.expect("no abort")), 1);
    for engine in [&first, &second] {
        assert_eq!(value(client(engine.clone()).await), 1);
    }
    let page = world.ledger.page(KEY);
    assert_eq!((page.begun, page.most_at_once), (1, 1));
    for engine in [first, second] {
        engine.shutdown().await;
    }
    world.end().await;
    left
}

// proves: schedules-keep-promises, secret-rotation-loses-no-key
#[test]
fn a_key_runs_once_while_its_secret_is_changed() {
    search(async |speed| assert!(!deployments(speed, usize::MAX).await));
}

// proves: schedules-keep-promises, secret-rotation-loses-no-key
#[test]
fn a_client_that_leaves_while_the_secret_is_changed_keeps_the_key_from_nobody() {
    search_leaving(deployments);
}
