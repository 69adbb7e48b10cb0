//! `RedisStore` on servers and a cluster that the tests start.

mod failures;
mod processes;
mod records;
mod round_trips;
mod tls;
mod waking;

use std::time::Duration;

use idempotency::{Hold, RecordId, RedisStore, Token};
use redis::Connection;
use tests::servers::redis::RedisServer;

use crate::contract::{Opened, the_store_keeps_the_contract};

mod single {
    super::the_store_keeps_the_contract!(super::open);
}

mod cluster {
    super::the_store_keeps_the_contract!(super::open_on_cluster);
}

/// Moves the times of the record back, as `record.lua` of the store lays them out; when the server is to remove it, on
/// the other hand, stays, so that it is the stored time that counts.
const SET_BACK: &str = "
    local head = '>I8I8'
    local bytes = redis.call('GET', KEYS[1])
    local expires_at, lease_until = struct.unpack(head, bytes, 7)
    local back = tonumber(ARGV[1])
    local times = struct.pack(head, expires_at - back, math.max(lease_until - back, 0))
    redis.call('SET', KEYS[1], bytes:sub(1, 6) .. times .. bytes:sub(23), 'KEEPTTL')
";

/// A store without records on the server that all tests share.
pub(crate) async fn open() -> Option<Opened> {
    let server = RedisServer::shared()?;
    let prefix = unused_prefix();
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    Some(Opened::new(store.with_prefix(&prefix), move |time| {
        set_back(server, &prefix, time);
    }))
}

/// A store without records on the cluster that all tests share.
async fn open_on_cluster() -> Option<Opened> {
    let nodes = RedisServer::shared_cluster()?;
    let prefix = unused_prefix();
    // The one that is named leads to the others.
    let store = RedisStore::cluster([nodes[0].url()])
        .await
        .expect("a store");
    Some(Opened::new(store.with_prefix(&prefix), move |time| {
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
    Hold {
        id: RecordId::from_bytes(id),
        token: Token::random(),
        lease: Duration::from_secs(30),
        ttl: Duration::from_secs(3600),
    }
}

/// Another request's, or another attempt's, on the same key.
fn hold_on(hold: &Hold) -> Hold {
    Hold {
        token: Token::random(),
        ..hold.clone()
    }
}

/// Lets this much time pass for all records on this server whose keys begin with the prefix.
fn set_back(server: &RedisServer, prefix: &str, time: Duration) {
    let mut connection = server.connection();
    for key in keys(&mut connection, prefix) {
        let back = u64::try_from(time.as_micros()).expect("a short time");
        let set: Result<(), _> = redis::Script::new(SET_BACK)
            .key(key)
            .arg(back)
            .invoke(&mut connection);
        set.expect("the record is set back");
    }
}

fn keys(connection: &mut Connection, prefix: &str) -> Vec<String> {
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query(connection)
        .expect("all keys");
    keys.into_iter()
        .filter(|key| key.starts_with(prefix))
        .collect()
}
