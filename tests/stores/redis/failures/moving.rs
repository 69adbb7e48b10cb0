//! Slots of a cluster that move from one node to another while the store works.

use idempotency::{
    RedisStore, Store,
    store::{Hold, IfOwner, ListRequest},
};
use redis::Connection;
use tests::servers::redis::{RedisServer, keys};

use super::{complete, is_replayed, keep, request, taken};
use crate::{claim, within_a_minute, won};

/// A slot that is moving between two nodes, both of which know it.
struct Moving {
    slot: u16,
    from: Node,
    to: Node,
}

struct Node {
    connection: Connection,
    port: u16,
    id: String,
}

/// While a slot moves, each of its keys is on one of two nodes, and the store finds it. It also does once the slot has moved.
// proves: deaf-store-left-quickly
#[tokio::test]
async fn keys_are_found_before_while_and_after_their_slot_moves() {
    let Some(nodes) = RedisServer::cluster(3, &[]) else {
        return;
    };
    let store = RedisStore::cluster([nodes[0].url()]).await;
    let store = store.expect("a store");
    let (stays, goes) = (taken(&store).await, taken(&store).await);
    let (name, new) = (name_of(&nodes, &goes), unused_in_slot_of(&nodes, &goes));
    let mut moving = Moving::begin(&nodes, &name);

    // The key is still on the old node, and new keys of the slot are made on the new one.
    goes_on(&store, &goes).await;
    assert_eq!(claim(&store, &new, &request()).await.ok(), Some(won(1)));
    assert_eq!(moving.to.count(moving.slot), 1, "it is asked for there");

    moving.carry_over(&name);
    goes_on(&store, &goes).await;
    goes_on(&store, &new).await;
    complete(&store, &goes).await;
    assert!(is_replayed(&store, &goes).await);

    moving.end(&nodes);
    assert!(is_replayed(&store, &goes).await);
    complete(&store, &new).await;
    assert!(is_replayed(&store, &new).await);
    goes_on(&store, &stays).await;
    let listed = store.list(&ListRequest::new(10)).await.expect("a list");
    assert_eq!(listed.len(), 3);
    // A store that knew the cluster before the move finds the key as well.
    let late = RedisStore::cluster([nodes[1].url()]).await;
    assert!(is_replayed(&late.expect("a store"), &goes).await);
}

async fn goes_on(store: &RedisStore, hold: &Hold) {
    let renewed = within_a_minute("a renewal", store.renew(hold)).await;
    assert_eq!(renewed.ok(), Some(IfOwner::Done(())));
    keep(store, hold).await;
}

/// The name of this hold's key.
fn name_of(nodes: &[RedisServer], hold: &Hold) -> String {
    let digits = hex(hold);
    let names = nodes
        .iter()
        .flat_map(|node| keys(&mut node.connection(), "idempotency:"));
    let mut names = names.filter(|name| name.ends_with(&digits));
    names.next().expect("the key")
}

/// A hold on an unused key in the same slot.
fn unused_in_slot_of(nodes: &[RedisServer], hold: &Hold) -> Hold {
    let mut connection = nodes[0].connection();
    let name = name_of(nodes, hold);
    let prefix = name.strip_suffix(&hex(hold)).expect("the digits");
    let wanted = slot(&mut connection, &name);
    loop {
        let mut pipeline = redis::pipe();
        let holds: Vec<_> = (0..1000).map(|_| super::super::new_hold()).collect();
        for hold in &holds {
            let name = format!("{prefix}{}", hex(hold));
            pipeline.cmd("CLUSTER").arg("KEYSLOT").arg(name);
        }
        let slots: Vec<u16> = pipeline.query(&mut connection).expect("the slots");
        let found = slots.iter().position(|slot| *slot == wanted);
        if let Some(found) = found {
            return holds[found].clone();
        }
    }
}

fn hex(hold: &Hold) -> String {
    hold.id
        .as_bytes()
        .map(|byte| format!("{byte:02x}"))
        .concat()
}

fn slot(connection: &mut Connection, name: &str) -> u16 {
    let slot = redis::cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(name)
        .query(connection);
    slot.expect("a slot")
}

impl Moving {
    /// The slot of this key begins to move to another node.
    fn begin(nodes: &[RedisServer], name: &str) -> Self {
        let mut all = nodes.iter().map(Node::of).collect::<Vec<_>>();
        let slot = slot(&mut all[0].connection, name);
        let is_here = |node: &mut Node| node.count(slot) > 0;
        let from = all
            .iter_mut()
            .position(is_here)
            .expect("the node that has it");
        let from = all.remove(from);
        let mut moving = Self {
            slot,
            from,
            to: all.remove(0),
        };
        let (from, to) = (moving.from.id.clone(), moving.to.id.clone());
        moving.to.set(slot, &["IMPORTING", &from]);
        moving.from.set(slot, &["MIGRATING", &to]);
        moving
    }

    fn carry_over(&mut self, name: &str) {
        let carried: String = redis::cmd("MIGRATE")
            .arg("127.0.0.1")
            .arg(self.to.port)
            .arg(name)
            .arg(0)
            .arg(10_000)
            .query(&mut self.from.connection)
            .expect("it is carried over");
        assert_eq!(carried, "OK");
    }

    fn end(mut self, nodes: &[RedisServer]) {
        let (slot, to) = (self.slot, self.to.id.clone());
        self.to.set(slot, &["NODE", &to]);
        for node in nodes {
            Node::of(node).set(slot, &["NODE", &to]);
        }
    }
}

impl Node {
    fn of(server: &RedisServer) -> Self {
        let mut connection = server.connection();
        let id = redis::cmd("CLUSTER").arg("MYID").query(&mut connection);
        Self {
            connection,
            port: server.address().port(),
            id: id.expect("an id"),
        }
    }

    fn set(&mut self, slot: u16, state: &[&str]) {
        let mut command = redis::cmd("CLUSTER");
        let set: String = command
            .arg("SETSLOT")
            .arg(slot)
            .arg(state)
            .query(&mut self.connection)
            .expect("the slot's state");
        assert_eq!(set, "OK");
    }

    /// How many keys of the slot it has.
    fn count(&mut self, slot: u16) -> usize {
        let count = redis::cmd("CLUSTER")
            .arg("COUNTKEYSINSLOT")
            .arg(slot)
            .query(&mut self.connection);
        count.expect("a number")
    }
}
