//! Sweeps beside claims and runs.

use std::time::Duration;

use idempotency::{
    Fingerprint, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, RecordId, Token},
};
use tokio::{spawn, task::JoinHandle};

use crate::{
    client::value,
    search::search,
    store::TestStore,
    world::{KEY, LEASE, OTHER_KEY, TTL, World},
};

fn sweep(store: &TestStore) -> JoinHandle<usize> {
    let store = store.clone();
    spawn(async move { store.purge_expired(512).await.expect("a memory") })
}

// proves: schedules-keep-promises, sweep-removes-only-expired, sweep-deletes-wrong-key
#[test]
fn a_sweep_beside_claims_of_an_expired_key_leaves_one_run() {
    search(async |speed| {
        let world = World::new(speed);
        assert_eq!(value(world.call(KEY).await), 1);
        world.store.pass(2 * TTL);
        let sweep = sweep(&world.store);
        let clients = [world.client(KEY), world.client(KEY)];
        for client in clients {
            assert_eq!(value(client.await.expect("no abort")), 2);
        }
        let _ = sweep.await.expect("no abort");
        let page = world.ledger.page(KEY);
        assert_eq!((page.begun, page.most_at_once), (2, 1));
        world.end().await;
    });
}

/// A run may last longer than its outcome will. Nobody else gets its key meanwhile.
// proves: schedules-keep-promises, sweep-removes-only-expired
#[test]
fn a_sweep_leaves_the_record_of_a_run() {
    search(async |speed| {
        let world = World::new(speed);
        let fingerprint = Fingerprint::of([b"book".as_slice()]);
        let id = RecordId::from_bytes([7; 32]);
        let hold = |token| Hold::new(id, Token::from_bytes([token; 16]), LEASE, LEASE);
        let (own, foreign) = (hold(1), hold(2));
        let claim = ClaimRequest::new(&own, &fingerprint, OnLost::TakeOver);
        let claimed = world.store.claim(claim).await;
        assert!(matches!(claimed, Ok(Claim::Won { attempt: 1, .. })));
        let others = {
            let store = world.store.clone();
            spawn(async move {
                let claim = ClaimRequest::new(&foreign, &fingerprint, OnLost::TakeOver);
                for _ in 0..3 {
                    let _ = sweep(&store).await.expect("no abort");
                    let claimed = store.claim(claim).await;
                    let is_taken = matches!(
                        claimed,
                        Ok(Claim::InFlight { .. } | Claim::Completed { .. })
                    );
                    assert!(is_taken, "{claimed:?}");
                }
            })
        };
        for _ in 0..3 {
            world.store.pass(LEASE / 2);
            let renewed = world.store.renew(&own).await;
            assert_eq!(renewed.ok(), Some(IfOwner::Done(())));
        }
        let completed = world.store.complete(&own, "booked".into()).await;
        assert!(matches!(completed, Ok(IfOwner::Done(_))));
        others.await.expect("no abort");
        world.end().await;
    });
}

// proves: schedules-keep-promises
#[test]
fn the_room_of_expired_records_is_free_again() {
    search(async |speed| {
        let world = World::new(speed);
        let clients = [world.client(KEY), world.client(OTHER_KEY)];
        for client in clients {
            assert_eq!(value(client.await.expect("no abort")), 1);
        }
        world.store.pass(2 * TTL);
        let sweeps = [sweep(&world.store), sweep(&world.store)];
        let again = world.client(KEY);
        assert_eq!(value(again.await.expect("no abort")), 2);
        for sweep in sweeps {
            let _ = sweep.await.expect("no abort");
        }
        world.store.pass(2 * TTL + Duration::from_secs(1));
        let _ = sweep(&world.store).await.expect("no abort");
        let left = format!("{:?}", world.store.inner);
        assert!(left.contains("used: 0,"), "{left}");
        world.end().await;
    });
}
