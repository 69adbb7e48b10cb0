//! Connections that go dark in both directions, without an error at either end.

use bytes::Bytes;
use idempotency::{
    PostgresStore, Store,
    store::{Claim, IfOwner, StoreErrorKind},
};
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;

use super::{behind_a_proxy, database, hold_on, new_hold, request, store, until};
use crate::{claim, within_a_minute, won};

/// The first step without a reply is refused, and all connections of its age are closed.
// proves: deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn dark_connections_are_left_for_new_ones() {
    let Some(url) = database().await else { return };
    let (proxy, url) = behind_a_proxy(&url).await;
    let store = store(&url).await;
    let owner = new_hold();
    assert_eq!(claim(&store, &owner, &request()).await.ok(), Some(won(1)));
    connect_many(&store).await;
    proxy.silence();
    let refused = store.renew(&owner).await.map_err(|error| error.kind());
    assert_eq!(refused, Err(StoreErrorKind::Unavailable));
    // None of the other idle connections is used again.
    connect_many(&store).await;
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
}

/// A caller who leaves in the middle of a step does not use up the connection's place in the pool.
// proves: deaf-store-left-quickly, dropped-future-loses-nothing, dead-connection-outlives-lease
#[tokio::test]
async fn steps_that_are_dropped_on_dark_connections_keep_no_place() {
    let Some(url) = database().await else { return };
    store(&url).await;
    let (proxy, url) = behind_a_proxy(&url).await;
    let pool = PgPoolOptions::new().max_connections(1);
    let store = PostgresStore::new(pool.connect_lazy(&url).expect("a URL"));
    assert_eq!(
        claim(&store, &new_hold(), &request()).await.ok(),
        Some(won(1))
    );
    proxy.silence();
    give_up_midway(&store).await;
    let next = claim(&store, &new_hold(), &request()).await;
    assert_eq!(next.ok(), Some(won(1)));
}

/// A connection may go dark at any moment, also while its pool pings it.
// proves: deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn a_pool_that_gets_no_connection_back_is_left_for_another() {
    let Some(url) = database().await else { return };
    store(&url).await;
    // A check before a connection returns to the pool, whose reply never arrives.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .after_release(|_, _| Box::pin(std::future::pending()));
    let store = PostgresStore::new(pool.connect_lazy(&url).expect("a URL"));
    assert_eq!(
        claim(&store, &new_hold(), &request()).await.ok(),
        Some(won(1))
    );
    give_up_midway(&store).await;
    let working = async { while claim(&store, &new_hold(), &request()).await.is_err() {} };
    within_a_minute("a claim", working).await;
}

/// Notifications resume after a while, on another connection. Meanwhile waiters poll.
// proves: deaf-store-left-quickly, lost-wakeup-hangs-waiter, dead-connection-outlives-lease
#[tokio::test]
async fn a_dark_connection_that_listens_is_left_for_a_new_one() {
    let Some(url) = database().await else { return };
    let (proxy, behind) = behind_a_proxy(&url).await;
    let store = store(&behind).await;
    let owner = new_hold();
    claim(&store, &owner, &request()).await.expect("a claim");
    let listening = |count: usize| {
        format!(
            "select count(*) >= {count} from pg_stat_activity
             where datname = current_database() and query like 'LISTEN%'"
        )
    };
    let mut subscription = store.subscribe(&owner.id);
    until(&url, &listening(1)).await;
    proxy.silence();
    // The server has not noticed, and still counts the first one.
    until(&url, &listening(2)).await;

    let looked = async {
        loop {
            match claim(&store, &hold_on(owner.id), &request()).await {
                Ok(claim) => return claim,
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Unavailable),
            }
        }
    };
    let in_flight = Claim::in_flight(request());
    assert_eq!(within_a_minute("a read", looked).await, in_flight);
    let elsewhere = super::store(&url).await;
    assert_eq!(
        elsewhere.release(&owner).await.ok(),
        Some(IfOwner::Done(()))
    );
    within_a_minute("the news", subscription.changed()).await;
}

/// Makes the store use all its connections concurrently.
async fn connect_many(store: &PostgresStore) {
    let mut steps = JoinSet::new();
    for _ in 0..10 {
        let store = store.clone();
        steps.spawn(async move {
            let renewed = store.renew(&new_hold()).await;
            assert_eq!(renewed.ok(), Some(IfOwner::NotOwner));
        });
    }
    steps.join_all().await;
}

/// Drops a step whose request is in flight.
async fn give_up_midway(store: &PostgresStore) {
    let asked = request();
    loop {
        let hold = new_hold();
        let mut step = Box::pin(claim(store, &hold, &asked));
        // On a busy machine the reply may have arrived before the first poll.
        if futures_util::poll!(&mut step).is_pending() {
            return;
        }
    }
}
