//! A record's labels and times, on one server and on a cluster.

use idempotency::RedisStore;
use tests::servers::redis::RedisServer;

use super::unused_prefix;
use crate::labels::{
    a_list_has_every_match_however_far_back_it_is, every_step_keeps_the_labels,
    only_the_completed_record_that_was_seen_is_corrected,
};

/// An empty store on one server.
async fn single() -> Option<RedisStore> {
    let server = RedisServer::shared()?;
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    Some(store.with_prefix(&unused_prefix()))
}

/// An empty store on a cluster.
async fn cluster() -> Option<RedisStore> {
    let nodes = RedisServer::shared_cluster()?;
    let store = RedisStore::cluster([nodes[0].url()]).await;
    Some(store.expect("a store").with_prefix(&unused_prefix()))
}

#[tokio::test]
async fn every_step_keeps_the_labels_as_they_are() {
    let (Some(single), Some(cluster)) = (single().await, cluster().await) else {
        return;
    };
    every_step_keeps_the_labels(&single).await;
    every_step_keeps_the_labels(&cluster).await;
}

#[tokio::test]
async fn an_operator_corrects_only_the_completed_record_that_was_seen() {
    let (Some(single), Some(cluster)) = (single().await, cluster().await) else {
        return;
    };
    only_the_completed_record_that_was_seen_is_corrected(&single).await;
    only_the_completed_record_that_was_seen_is_corrected(&cluster).await;
}

#[tokio::test]
async fn a_narrowed_list_has_every_match_however_far_back_it_is() {
    let (Some(single), Some(cluster)) = (single().await, cluster().await) else {
        return;
    };
    a_list_has_every_match_however_far_back_it_is(&single).await;
    a_list_has_every_match_however_far_back_it_is(&cluster).await;
}
