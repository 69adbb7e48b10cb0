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
mod waking;

use std::time::Duration;

use idempotency::{
    RedisStore,
    conformance::TestStore,
    conformance_tests,
    store::{Hold, RecordId, Token},
};
use tests::{
    opened::{ahead, in_redis},
    servers::redis::{RedisServer, set_back},
};

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
    // The one that is named leads to the others.
    let store = RedisStore::cluster([nodes[0].url()])
        .await
        .expect("a store");
    Some(ahead(store.with_prefix(&prefix), move |time| {
        for node in nodes {
            set_back(node, &prefix, time);
        }
    }))
}

fn unused_prefix() -> String {
    format!("test {:?}:", Token::random().as_bytes())
}

/// A hold on a key that nobody has used.
fn new_hold() -> Hold {
    let mut id = [0; 32];
    id[..16].copy_from_slice(Token::random().as_bytes());
    Hold::new(
        RecordId::from_bytes(id),
        Token::random(),
        Duration::from_secs(30),
        Duration::from_secs(3600),
    )
}

/// Another request's, or another attempt's, on the same key.
fn hold_on(hold: &Hold) -> Hold {
    hold.clone().with_token(Token::random())
}
