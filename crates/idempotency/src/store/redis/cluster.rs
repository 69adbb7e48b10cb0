//! A cluster: a connection to each node, and which node has which keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared, try_join_all},
    stream::FuturesUnordered,
};
use parking_lot::Mutex;
use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value,
    make_extension_error,
};
use tokio::time::{sleep, timeout};

use super::{
    address,
    error::says,
    link::{Failure, Link, Sent},
    slots::{self, Node, Slots},
};

/// Clones are handles on the same connections.
///
/// This is not the cluster client of the `redis` crate, because that client keeps using a connection on which no
/// replies arrive, and does not say whether it sent a command twice.
#[derive(Clone)]
pub(super) struct Cluster(Arc<Nodes>);

struct Nodes {
    /// The nodes that the user named.
    seeds: Vec<ConnectionInfo>,
    // Plain locks: nothing is awaited under them.
    slots: Mutex<Slots>,
    links: Mutex<BTreeMap<Node, Arc<Link>>>,
    /// All callers that need the map of slots wait for the same replies.
    learning: Mutex<Option<Learning>>,
}

type Learning = Shared<BoxFuture<'static, Result<(), RedisError>>>;

/// How long a node may take to report the slots. Together with a failed connection to one node before it, and the step
/// itself after it, this fits into the time of a step.
const LEARN_WITHIN: Duration = Duration::from_secs(1);

/// How long to wait before a step is sent again that the cluster did not accept.
const PAUSES: [u64; 6] = [0, 20, 100, 300, 600, 1000];

/// What to do about a step that failed.
enum Next {
    Retry,
    /// The node to which the slot is moving has the key.
    Ask(Node),
    Fail,
}

impl Cluster {
    /// The cluster to which these nodes belong.
    pub(super) async fn connect(seeds: Vec<ConnectionInfo>) -> Result<Self, RedisError> {
        let cluster = Self(Arc::new(Nodes {
            seeds,
            slots: Mutex::default(),
            links: Mutex::default(),
            learning: Mutex::default(),
        }));
        cluster.learn().await?;
        Ok(cluster)
    }

    /// Sends a command on this key to the node that has it.
    pub(super) async fn send(
        &self,
        key: &str,
        command: &Cmd,
        repeated: &mut bool,
    ) -> Result<Value, RedisError> {
        let slot = slots::slot(key);
        let mut asking = None;
        let mut pauses = PAUSES.into_iter();
        loop {
            let (node, sent) = match asking.take() {
                Some(node) => (node, Sent::Asking(command)),
                None => (self.owner(slot).await?, Sent::Plain(command)),
            };
            let failure = match self.link(&node)?.send(sent, repeated).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            let next = self.next(slot, &node, &failure).await;
            match (next, pauses.next()) {
                (Next::Retry, Some(pause)) => sleep(Duration::from_millis(pause)).await,
                (Next::Ask(node), Some(_)) => asking = Some(node),
                _ => return Err(failure.into_error()),
            }
        }
    }

    /// The reply of each primary to this command.
    pub(super) async fn ask_all(&self, command: &Cmd) -> Result<Vec<Value>, RedisError> {
        let primaries = self.primaries();
        try_join_all(primaries.iter().map(|node| self.ask(node, command))).await
    }

    /// The reply of this node to this command.
    pub(super) async fn ask(&self, node: &Node, command: &Cmd) -> Result<Value, RedisError> {
        let mut repeated = false;
        let link = self.link(node)?;
        match link.send(Sent::Plain(command), &mut repeated).await {
            Ok(value) => Ok(value),
            Err(failure) => {
                if !matches!(failure, Failure::Refused(_)) {
                    drop(self.learning());
                }
                Err(failure.into_error())
            }
        }
    }

    pub(super) fn primaries(&self) -> BTreeSet<Node> {
        self.0.slots.lock().primaries()
    }

    /// The clients of all known nodes.
    pub(super) fn clients(&self) -> Vec<Client> {
        let known = self.0.slots.lock().nodes.clone();
        let nodes = self.seeds().chain(known);
        let clients = nodes.filter_map(|node| self.client(&node).ok());
        clients.collect()
    }

    /// Determines why a step failed, and where to send it next.
    async fn next(&self, slot: u16, node: &Node, failure: &Failure) -> Next {
        let error = match failure {
            Failure::Refused(error) => match error.kind() {
                ErrorKind::Server(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask)) => {
                    let next = error.redirect_node();
                    let next = next.and_then(|(address, _)| slots::redirected(node, address));
                    return match (kind, next) {
                        (_, None) => Next::Fail,
                        (ServerErrorKind::Ask, Some(next)) => Next::Ask(next),
                        (_, Some(next)) => {
                            self.0.slots.lock().moved(slot, next);
                            drop(self.learning());
                            Next::Retry
                        }
                    };
                }
                _ if ["CLUSTERDOWN", "LOADING", "TRYAGAIN"]
                    .iter()
                    .any(|code| says(error, code)) =>
                {
                    drop(self.learn().await);
                    return Next::Retry;
                }
                _ => return Next::Fail,
            },
            Failure::Unconnected(error) | Failure::Broken(error) => error,
        };
        if matches!(failure, Failure::Broken(_)) && error.is_timeout() {
            // The command may still be carried out. The slots are read in the background for the next one.
            drop(self.learning());
            return Next::Fail;
        }
        if self.learn().await.is_err() {
            return Next::Fail;
        }
        let has_moved = self.0.slots.lock().owner(slot) != Some(node);
        if has_moved || says(error, "READONLY") || says(error, "MASTERDOWN") {
            Next::Retry
        } else {
            Next::Fail
        }
    }

    fn seeds(&self) -> impl Iterator<Item = Node> {
        self.0.seeds.iter().filter_map(address::node)
    }

    async fn owner(&self, slot: u16) -> Result<Node, RedisError> {
        let known = || self.0.slots.lock().owner(slot).cloned();
        if let Some(node) = known() {
            return Ok(node);
        }
        self.learn().await?;
        known().ok_or_else(|| {
            let detail = "no server has the slot of this key".to_owned();
            make_extension_error("CLUSTERDOWN".to_owned(), Some(detail))
        })
    }

    fn client(&self, node: &Node) -> Result<Client, RedisError> {
        let Some(seed) = self.0.seeds.first() else {
            return Err(nobody());
        };
        Client::open(address::of_node(seed, node.clone()))
    }

    fn link(&self, node: &Node) -> Result<Arc<Link>, RedisError> {
        let mut links = self.0.links.lock();
        if let Some(link) = links.get(node) {
            return Ok(Arc::clone(link));
        }
        let link = Arc::new(Link::new(self.client(node)?));
        links.insert(node.clone(), Arc::clone(&link));
        Ok(link)
    }

    /// Reads which node has which slots.
    async fn learn(&self) -> Result<(), RedisError> {
        self.learning().await
    }

    /// It continues even if no caller waits for it.
    fn learning(&self) -> Learning {
        let mut learning = self.0.learning.lock();
        if let Some(learning) = &*learning
            && learning.peek().is_none()
        {
            return learning.clone();
        }
        let cluster = self.clone();
        let task = tokio::spawn(async move { cluster.ask_around().await });
        let ended = async { task.await.unwrap_or_else(|_| Err(nobody())) };
        let ended = ended.boxed().shared();
        *learning = Some(ended.clone());
        ended
    }

    async fn ask_around(&self) -> Result<(), RedisError> {
        let known = self.0.slots.lock().nodes.clone();
        let seeds = self.seeds().collect();
        let mut failed = nobody();
        for nodes in [known, seeds] {
            match self.majority(nodes).await {
                Ok(slots) => {
                    let is_known = |node: &Node, _: &mut _| slots.nodes.contains(node);
                    self.0.links.lock().retain(is_known);
                    *self.0.slots.lock() = slots;
                    return Ok(());
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The map that most of these nodes report. A node that was cut off from the others still reports the old one.
    async fn majority(&self, nodes: BTreeSet<Node>) -> Result<Slots, RedisError> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let ask = async |node: &Node| {
            let mut repeated = false;
            let link = self.link(node)?;
            let asked = link.send(Sent::Plain(&command), &mut repeated);
            let reply = timeout(LEARN_WITHIN, asked).await;
            let reply =
                reply.map_err(|_| RedisError::from(io::Error::from(io::ErrorKind::TimedOut)))?;
            Ok((node.clone(), reply.map_err(Failure::into_error)?))
        };
        let mut asked: FuturesUnordered<_> = nodes.iter().map(ask).collect();
        let mut told: Vec<(Slots, usize)> = Vec::new();
        let mut failed = None;
        while let Some(reply) = asked.next().await {
            let slots = match reply {
                Ok((node, reply)) => Slots::read(&node, &reply),
                Err(error) => {
                    failed = Some(error);
                    None
                }
            };
            let Some(slots) = slots else {
                continue;
            };
            let votes = match told.iter_mut().find(|(other, _)| *other == slots) {
                Some((_, votes)) => {
                    *votes += 1;
                    *votes
                }
                None => {
                    told.push((slots.clone(), 1));
                    1
                }
            };
            if 2 * votes > nodes.len() {
                return Ok(slots);
            }
        }
        let most = told.into_iter().max_by_key(|(_, votes)| *votes);
        most.map(|(slots, _)| slots)
            .ok_or_else(|| failed.unwrap_or_else(nobody))
    }
}

fn nobody() -> RedisError {
    let detail = "no node of the cluster reports its slots".to_owned();
    make_extension_error("CLUSTERDOWN".to_owned(), Some(detail))
}
