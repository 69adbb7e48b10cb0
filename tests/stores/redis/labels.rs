//! A record's labels and times, on one server and on a cluster.

use idempotency::RedisStore;
use tests::servers::redis::RedisServer;

use super::{new_hold, unused_prefix};
use crate::labels::every_step_keeps_the_labels;

#[tokio::test]
async fn every_step_keeps_the_labels_as_they_are() {
    let Some(server) = RedisServer::shared() else {
        return;
    };
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    every_step_keeps_the_labels(&store.with_prefix(&unused_prefix()), new_hold).await;
}

#[tokio::test]
async fn every_step_on_a_cluster_keeps_the_labels_as_they_are() {
    let Some(nodes) = RedisServer::shared_cluster() else {
        return;
    };
    let store = RedisStore::cluster([nodes[0].url()])
        .await
        .expect("a store");
    every_step_keeps_the_labels(&store.with_prefix(&unused_prefix()), new_hold).await;
}
