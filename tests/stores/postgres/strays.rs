//! Connections that another user of the pool has left in a state that the pool does not know.

use idempotency::{PostgresStore, Store};
use sqlx::postgres::PgPoolOptions;

use super::{database, new_hold, request};
use crate::{claim, won};

/// A user who drops the `begin` of a transaction leaves the connection in the pool with the transaction open. A
/// claim in that transaction would be rolled back with it.
// proves: own-claim-unrecognised, waiters-exhaust-pool
#[tokio::test]
async fn a_transaction_that_another_user_left_open_is_not_ours() {
    let Some(url) = database().await else { return };
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await;
    let pool = pool.expect("a pool");
    let store = PostgresStore::new(pool.clone());
    store.create_schema().await.expect("tables");
    let others = PostgresStore::connect(&url).await.expect("another store");

    // At one of these polls the `BEGIN` is in flight.
    for polls in 1..40 {
        let mut begin = Box::pin(pool.begin());
        for _ in 0..polls {
            if futures_util::poll!(&mut begin).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(begin);
        let hold = new_hold();
        let claimed = claim(&store, &hold, &request()).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        let seen = others.inspect(&hold.id).await.expect("a reply");
        assert!(
            seen.is_some(),
            "after {polls} polls no other store sees the claim"
        );
    }
}
