//! How the server notifies duplicates in one process of an end in another: each store here stands for a
//! process.

use std::sync::Arc;

use bytes::Bytes;
use idempotency::{
    PostgresStore, RedisStore, Store,
    store::{Claim, Hold, Resolution, StoreError},
};
use rstest_reuse::{apply, template};
use tests::servers::redis::RedisServer;

use crate::{
    holds::{claim, hold_on, new_hold, request},
    paused_time::PausedTime,
    postgres, redis,
};

#[derive(Clone, Copy, Debug)]
enum Kind {
    Postgres,
    Redis,
    RedisCluster,
}

#[template]
#[rstest::rstest]
#[case::postgres(Kind::Postgres)]
#[case::redis(Kind::Redis)]
#[case::redis_cluster(Kind::RedisCluster)]
fn each_store_that_notifies(#[case] kind: Kind) {}

/// Two stores with the same records.
struct Two {
    owning: Arc<dyn Store>,
    waiting: Arc<dyn Store>,
    server: Server,
}

enum Server {
    Postgres(String),
    /// The node that notifies the waiting store.
    Redis(&'static RedisServer),
}

impl Two {
    async fn open(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Postgres => {
                let url = postgres::database().await?;
                let connect = async || -> Arc<PostgresStore> { postgres::store(&url).await.into() };
                Self {
                    owning: connect().await,
                    waiting: connect().await,
                    server: Server::Postgres(url),
                }
            }
            Kind::Redis => {
                let (server, prefix) = (RedisServer::shared()?, redis::unused_prefix());
                let connect = async || -> Arc<RedisStore> {
                    let store = RedisStore::connect(&server.url()).await.expect("a store");
                    store.with_prefix(&prefix).into()
                };
                Self {
                    owning: connect().await,
                    waiting: connect().await,
                    server: Server::Redis(server),
                }
            }
            Kind::RedisCluster => {
                let (nodes, prefix) = (RedisServer::shared_cluster()?, redis::unused_prefix());
                let connect = async |node: &RedisServer| -> Arc<RedisStore> {
                    let store = RedisStore::cluster([node.url()]).await.expect("a store");
                    store.with_prefix(&prefix).into()
                };
                Self {
                    owning: connect(&nodes[1]).await,
                    waiting: connect(&nodes[0]).await,
                    server: Server::Redis(&nodes[0]),
                }
            }
        })
    }

    /// Returns once the server will notify the waiting store of this hold's end.
    async fn is_awaited(&self, owner: &Hold) {
        match &self.server {
            Server::Postgres(url) => postgres::waking::is_awaited(url, &self.waiting, owner).await,
            Server::Redis(node) => {
                redis::waking::is_listened_to(node, &self.waiting, &owner.id).await;
            }
        }
    }

    async fn end(&self, owner: &Hold, way: &str) -> Result<(), StoreError> {
        let (owning, empty) = (&self.owning, Bytes::new());
        match way {
            "complete" => owning.complete(owner, empty).await.map(drop),
            "release" => owning.release(owner).await.map(drop),
            "suspend" => owning.suspend(owner, empty).await.map(drop),
            "withdraw" => owning.withdraw(owner, &request()).await,
            _ => {
                let resolution = Resolution::Complete {
                    outcome: empty,
                    ttl: owner.ttl,
                };
                let resolved = owning.resolve(&owner.id, &owner.token, resolution);
                resolved.await.map(drop)
            }
        }
    }
}

/// No waiter has to poll. There are enough keys that each node of a cluster has some.
// proves: duplicate-may-wait, processes-share-store, lost-wakeup-hangs-waiter
#[apply(each_store_that_notifies)]
#[tokio::test]
async fn each_way_to_end_a_hold_is_notified(#[case] kind: Kind) {
    let Some(two) = Two::open(kind).await else {
        return;
    };
    for way in ["complete", "release", "suspend", "withdraw", "resolve"].repeat(2) {
        let owner = new_hold();
        let claimed = claim(&two.owning, &owner, &request()).await;
        claimed.expect("a claim");
        let mut subscription = two.waiting.subscribe(&owner.id);
        two.is_awaited(&owner).await;
        let paused = PausedTime::pause();
        two.end(&owner, way).await.expect(way);
        subscription.changed().await;
        paused.resume();
        let next = claim(&two.waiting, &hold_on(owner.id), &request()).await;
        let has_ended = match way {
            "complete" | "resolve" => matches!(next, Ok(Claim::Completed { .. })),
            "suspend" => matches!(next, Ok(Claim::Won { attempt: 2, .. })),
            _ => matches!(next, Ok(Claim::Won { attempt: 1, .. })),
        };
        assert!(has_ended, "{way}: {next:?}");
    }
}
