//! Nodes of a cluster that stop, and connections to them that go dark.

use std::{collections::BTreeSet, iter};

use bytes::Bytes;
use futures_util::future::join_all;
use idempotency::{
    RedisStore, Store,
    store::{Hold, IfOwner, Resolution},
};
use tests::servers::redis::RedisServer;

use super::{complete, is_replayed, request, taken};
use crate::{claim, proxy::Proxy, within_a_minute, won};

/// A primary stops and keeps its connections, and its replica takes over. The records are there, each later step
/// goes to the new primary, and so do the listeners.
// proves: deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn a_primary_that_stops_is_left_for_the_replica_that_takes_over() {
    let Some(nodes) = RedisServer::cluster(6, &["--cluster-node-timeout", "1000"]) else {
        return;
    };
    // The primary that stops is the one in the URL.
    let store = RedisStore::cluster([nodes[0].url()])
        .await
        .expect("a store");
    let mut holds = Vec::new();
    for _ in 0..12 {
        let hold = taken(&store).await;
        complete(&store, &hold).await;
        holds.push(hold);
    }
    for node in &nodes[..3] {
        let mut connection = node.connection();
        let mut wait = redis::cmd("WAIT");
        let replicas = wait.arg([1, 60_000].as_slice()).query(&mut connection);
        assert_eq!(replicas, Ok(1));
    }
    nodes[0].pause();
    let mut promoted = nodes[3..]
        .iter()
        .map(RedisServer::connection)
        .collect::<Vec<_>>();
    let promotion = async {
        while !promoted
            .iter_mut()
            .any(|connection| role(connection) == "master")
        {
            tokio::task::yield_now().await;
        }
    };
    within_a_minute("a promotion", promotion).await;

    let works = async {
        let mut refused = 0;
        for hold in &holds {
            while !is_replayed(&store, hold).await {
                refused += 1;
                assert!(refused <= 3, "the old primary is asked again and again");
            }
        }
        for _ in 0..12 {
            taken(&store).await;
        }
    };
    within_a_minute("steps on the new primary", works).await;

    let hold = taken(&store).await;
    let subscription = store.subscribe(&hold.id);
    let mut alive: Vec<_> = nodes[1..].iter().map(RedisServer::connection).collect();
    let listens = async {
        while alive.iter_mut().all(|connection| channels(connection) == 0) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within_a_minute("a listener", listens).await;
    drop(subscription);
    nodes[0].resume();
}

fn role(connection: &mut redis::Connection) -> String {
    let role: Vec<redis::Value> = redis::cmd("ROLE").query(connection).expect("a role");
    redis::from_redis_value(role.into_iter().next().expect("a name")).expect("a name")
}

fn channels(connection: &mut redis::Connection) -> usize {
    let channels: Vec<String> = redis::cmd("PUBSUB")
        .arg("CHANNELS")
        .query(connection)
        .expect("the channels");
    channels.len()
}

// proves: deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn a_dark_connection_to_each_node_costs_one_step_each() {
    let Some((_nodes, proxies, store)) = behind_proxies().await else {
        return;
    };
    let mut holds = Vec::new();
    // So many that each node has some: a node that is not asked would keep its dark connection.
    for _ in 0..48 {
        holds.push(taken(&store).await);
    }
    let mut silenced = Vec::new();
    for round in 0..2 {
        proxies.iter().for_each(Proxy::silence);
        silenced.clear();
        // All nodes are asked, concurrently.
        silenced.extend(join_all(holds.iter().map(|hold| store.renew(hold))).await);
        assert!(silenced.iter().all(Result::is_err), "{round}: {silenced:?}");
        for hold in &holds {
            assert_eq!(store.renew(hold).await.ok(), Some(IfOwner::Done(())));
        }
    }
    let hold = taken(&store).await;
    proxies.iter().for_each(Proxy::silence);
    let silenced = claim(&store, &hold, &request()).await;
    assert!(silenced.is_err(), "{silenced:?}");
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
}

/// A cluster's reply can be lost like that of a single server: the second run of the step recognises the first.
// proves: own-claim-unrecognised
#[tokio::test]
async fn a_step_on_a_cluster_whose_reply_is_lost_recognises_itself() {
    let Some((_nodes, proxies, store)) = behind_proxies().await else {
        return;
    };
    // The nodes have to know the scripts. Otherwise the lost reply would only be the error that they do not.
    warm_up(&store).await;
    let hold = taken(&store).await;
    proxies.iter().for_each(Proxy::lose_the_next_reply);
    let released = store.resolve(&hold.id, &hold.token, Resolution::Release);
    assert_eq!(released.await.ok(), Some(IfOwner::Done(())));
    // This uses up the faults of the other nodes.
    warm_up(&store).await;
    let hold = taken(&store).await;
    proxies.iter().for_each(Proxy::lose_the_next_reply);
    let resolved = store.resolve(&hold.id, &hold.token, as_booked(&hold));
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    assert!(is_replayed(&store, &hold).await);
}

async fn warm_up(store: &RedisStore) {
    for _ in 0..24 {
        let hold = taken(store).await;
        let resolved = store.resolve(&hold.id, &hold.token, as_booked(&hold)).await;
        assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
        let hold = taken(store).await;
        assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::Done(())));
    }
}

fn as_booked(hold: &Hold) -> Resolution {
    Resolution::Complete {
        outcome: Bytes::from_static(b"booked"),
        ttl: hold.ttl,
    }
}

/// A cluster whose nodes name proxies as their addresses.
async fn behind_proxies() -> Option<(Vec<RedisServer>, Vec<Proxy>, RedisStore)> {
    let nodes = RedisServer::cluster(3, &[])?;
    let mut proxies = Vec::new();
    for node in &nodes {
        let proxy = Proxy::to(node.address()).await;
        let announced: String = redis::cmd("CONFIG")
            .arg("SET")
            .arg("cluster-announce-port")
            .arg(proxy.address().port())
            .query(&mut node.connection())
            .expect("the announcement");
        assert_eq!(announced, "OK");
        proxies.push(proxy);
    }
    let ports: BTreeSet<u16> = proxies.iter().map(|proxy| proxy.address().port()).collect();
    for node in &nodes {
        let mut connection = node.connection();
        let is_known = async {
            while told_ports(&mut connection) != ports {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        within_a_minute("the addresses", is_known).await;
    }
    let urls = iter::once(format!("redis://{}", proxies[0].address()));
    let store = RedisStore::cluster(urls).await.expect("a store");
    Some((nodes, proxies, store))
}

fn told_ports(connection: &mut redis::Connection) -> BTreeSet<u16> {
    // First and last slot, and the primary, whose port comes second.
    let ranges: Vec<(u16, u16, Vec<redis::Value>)> = redis::cmd("CLUSTER")
        .arg("SLOTS")
        .query(connection)
        .expect("the slots");
    let port = |node: &[redis::Value]| match node.get(1) {
        Some(redis::Value::Int(port)) => u16::try_from(*port).expect("a port"),
        other => panic!("a port, and not {other:?}"),
    };
    ranges.iter().map(|(_, _, node)| port(node)).collect()
}
