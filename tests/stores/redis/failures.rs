//! Servers and connections that fail, and how the store reacts.

mod clusters;
mod connections;
mod limits;
mod moving;
mod oldest;
mod outages;

use bytes::Bytes;
use idempotency::{
    RedisStore, Store,
    store::{Claim, Hold, IfOwner, StoreError, StoreErrorKind},
};
use tests::servers::redis::RedisServer;

use super::{hold_on, new_hold, request};
use crate::{claim, won};

async fn connect(server: &RedisServer) -> RedisStore {
    RedisStore::connect(&server.url()).await.expect("a store")
}

async fn taken(store: &RedisStore) -> Hold {
    let hold = new_hold();
    let claim = claim(store, &hold, &request()).await.expect("a claim");
    assert_eq!(claim, won(1));
    hold
}

async fn keep(store: &RedisStore, hold: &Hold) {
    let kept = store.checkpoint(hold, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
}

async fn complete(store: &RedisStore, hold: &Hold) {
    let done = store.complete(hold, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

async fn is_replayed(store: &RedisStore, hold: &Hold) -> bool {
    let claim = claim(store, &hold_on(hold.id), &request()).await;
    matches!(claim, Ok(Claim::Completed { outcome, .. }) if outcome == "booked")
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T, StoreError>, kind: StoreErrorKind) {
    let error = result.expect_err("the step fails");
    assert_eq!(error.kind(), kind, "{error:?}");
}
