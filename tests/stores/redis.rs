//! `RedisStore` on servers and a cluster that the tests start.

mod earlier;
mod failures;
mod free_keys;
mod labels;
mod opening;
mod processes;
mod records;
mod round_trips;
mod stopping;
mod tls;
mod together;
pub(crate) mod waking;

use idempotency::{RedisStore, conformance::TestStore, conformance_tests, store::Token};
use tests::{
    servers::redis::{RedisServer, set_back},
    test_stores::{in_redis, skewed},
};

use crate::holds::{hold_on, new_hold, request};

mod single {
    use super::*;

    conformance_tests!(in_redis);
    conformance_tests!(wakeups: in_redis);
}

mod cluster {
    use super::*;

    conformance_tests!(open_on_cluster);
    conformance_tests!(wakeups: open_on_cluster);
}

/// A store without records on the cluster that all tests share.
async fn open_on_cluster() -> Option<TestStore> {
    let nodes = RedisServer::shared_cluster()?;
    let prefix = unused_prefix();
    // The node in the URL leads to the others.
    let store = RedisStore::cluster([nodes[0].url()])
        .await
        .expect("a store");
    Some(skewed(store.with_prefix(&prefix), move |time| {
        for node in nodes {
            set_back(node, &prefix, time);
        }
    }))
}

pub(crate) fn unused_prefix() -> String {
    format!("test {:?}:", Token::random().as_bytes())
}
