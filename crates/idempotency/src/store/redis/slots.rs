//! The map of a cluster: which node has which keys.

use std::collections::{BTreeMap, BTreeSet};

use redis::Value;

/// A node's host and port.
pub(super) type Node = (String, u16);

/// The number of slots in a cluster.
const SLOTS: u16 = 16_384;

/// The nodes of a cluster, as one of them reports them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slots {
    /// The last slot and the primary of each range, by its first slot.
    ranges: BTreeMap<u16, (u16, Node)>,
    /// Primaries and replicas.
    pub(super) nodes: BTreeSet<Node>,
}

impl Slots {
    /// What this node replied to `CLUSTER SLOTS`; `None` if it has nothing to report, or the reply is not understood.
    pub(super) fn read(asked: &Node, reply: &Value) -> Option<Self> {
        let Value::Array(ranges) = reply else {
            return None;
        };
        let mut slots = Self::default();
        for range in ranges {
            // First and last slot, the primary, its replicas.
            let Value::Array(range) = range else {
                return None;
            };
            let [first, last, servers @ ..] = range.as_slice() else {
                return None;
            };
            let servers = servers.iter().map(|server| node(asked, server));
            let servers: Vec<Node> = servers.collect::<Option<_>>()?;
            let range = (number(last)?, servers.first()?.clone());
            slots.ranges.insert(number(first)?, range);
            slots.nodes.extend(servers);
        }
        (!slots.ranges.is_empty()).then_some(slots)
    }

    /// The primary that has this slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&Node> {
        let (_, (last, owner)) = self.ranges.range(..=slot).next_back()?;
        (slot <= *last).then_some(owner)
    }

    /// Notes that this slot has moved to this node, until a node reports the whole map.
    pub(super) fn moved(&mut self, slot: u16, node: Node) {
        let found = self.ranges.range(..=slot).next_back();
        if let Some((first, (last, owner))) = found.map(|(first, range)| (*first, range.clone()))
            && slot <= last
        {
            self.ranges.remove(&first);
            if first < slot {
                self.ranges.insert(first, (slot - 1, owner.clone()));
            }
            if slot < last {
                self.ranges.insert(slot + 1, (last, owner));
            }
        }
        self.nodes.insert(node.clone());
        self.ranges.insert(slot, (slot, node));
    }

    /// The nodes that have keys of their own.
    pub(super) fn primaries(&self) -> BTreeSet<Node> {
        let owners = self.ranges.values().map(|(_, owner)| owner.clone());
        owners.collect()
    }
}

/// A server in the reply to `CLUSTER SLOTS`. One that does not know its own address has the address of the node that
/// was asked.
fn node(asked: &Node, server: &Value) -> Option<Node> {
    let Value::Array(server) = server else {
        return None;
    };
    let [host, port, ..] = server.as_slice() else {
        return None;
    };
    let host = match host {
        Value::Nil => "",
        Value::BulkString(host) => str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        _ => return None,
    };
    Some((known_host(asked, host), number(port)?))
}

/// The node that a redirection names, such as `10.0.0.1:6379`.
pub(super) fn redirected(asked: &Node, address: &str) -> Option<Node> {
    let (host, port) = address.rsplit_once(':')?;
    Some((known_host(asked, host), port.parse().ok()?))
}

fn known_host(asked: &Node, host: &str) -> String {
    match host {
        "" | "?" => asked.0.clone(),
        host => host.to_owned(),
    }
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

/// The slot of a key: CRC-16 (XMODEM) of its hash tag, or of all of it.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| {
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    });
    let mut crc = 0_u16;
    for byte in tag.unwrap_or(key).bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = match crc & 0x8000 {
                0 => crc << 1,
                _ => (crc << 1) ^ 0x1021,
            };
        }
    }
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn asked() -> Node {
        ("asked".into(), 6379)
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
    }

    #[test]
    fn a_slot_that_has_moved_leaves_its_neighbours_where_they_are() {
        let (old, new): (Node, Node) = (("old".into(), 1), ("new".into(), 2));
        for (first, last, moved) in [(0, 9, 0), (0, 9, 9), (0, 9, 5), (5, 5, 5)] {
            let mut slots = Slots::default();
            slots.ranges.insert(first, (last, old.clone()));
            slots.moved(moved, new.clone());
            for slot in first..=last {
                let owner = if slot == moved { &new } else { &old };
                assert_eq!(slots.owner(slot), Some(owner));
            }
            assert_eq!(slots.owner(last + 1), None);
        }
    }

    #[test]
    fn a_node_that_does_not_know_its_address_is_where_it_was_asked() {
        let server = |host| Value::Array(vec![host, Value::Int(7000), text("id")]);
        for host in [Value::Nil, text(""), text("?")] {
            let range = Value::Array(vec![Value::Int(5), Value::Int(9), server(host)]);
            let slots = Slots::read(&asked(), &Value::Array(vec![range])).expect("slots");
            assert_eq!(slots.owner(7), Some(&("asked".into(), 7000)));
            assert_eq!((slots.owner(4), slots.owner(10)), (None, None));
        }
        assert_eq!(Slots::read(&asked(), &Value::Array(Vec::new())), None);
        assert_eq!(Slots::read(&asked(), &Value::Nil), None);
        assert_eq!(redirected(&asked(), ":7001"), Some(("asked".into(), 7001)));
        assert_eq!(redirected(&asked(), "::1:7001"), Some(("::1".into(), 7001)));
    }
}
