//! Whose time it is.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotency::{
    Store,
    store::{Claim, IfOwner},
};
use tests::servers::postgres::advance;

use super::{database, hold_on, new_hold, request, store};
use crate::{claim, won};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

// proves: store-clock-decides, clock-skew-early-takeover
#[tokio::test]
async fn the_clock_of_the_machine_that_asks_counts_for_nothing() {
    let Some(url) = database().await else { return };
    let (first, second) = (store(&url).await, store(&url).await);
    // By the clock of this machine every lease that the server grants is far in the future.
    advance(&url, DAY);
    let owner = new_hold();
    claim(&first, &owner, &request()).await.expect("a claim");
    let fingerprint = request();
    let early = claim(&second, &hold_on(owner.id), &request()).await;
    assert_eq!(early.ok(), Some(Claim::in_flight(fingerprint)));
    advance(&url, owner.lease);
    let successor = hold_on(owner.id);
    let taken = claim(&second, &successor, &request()).await;
    assert_eq!(taken.ok(), Some(won(2)));
    let done = second.complete(&successor, Bytes::new()).await;
    let Ok(IfOwner::Done(expires_at)) = done else {
        panic!("the owner completes, and not {done:?}");
    };
    assert!(expires_at > SystemTime::now() + DAY);
}
