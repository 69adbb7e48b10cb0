//! What the store knows of the other side: it takes commands, whether it is one server or a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value,
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cluster_routing::{
        MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, Slot, SlotAddr,
    },
    from_redis_value,
};

use super::{
    address,
    link::{ANSWER_WITHIN, Answer, CONNECT_WITHIN, Link},
    script::Script,
};

/// One server or a cluster. Clones are handles on the same connections.
#[derive(Clone)]
pub(super) struct Server(Arc<Connected>);

struct Connected {
    /// Those that the user has named.
    nodes: Vec<Client>,
    commands: Commands,
}

enum Commands {
    ToOne(Box<Link>),
    ToCluster(ClusterConnection),
}

/// How long a step may take with all that belongs to it, connections and repetitions too. Less than the engine waits.
const STEP_WITHIN: Duration = Duration::from_secs(3);

/// How often a cluster's client follows a key that has moved, or tries another connection.
const CLUSTER_RETRIES: u32 = 4;

/// How many keys a server looks at before it looks after its other clients.
const SCANNED_AT_ONCE: usize = 1000;

impl Server {
    /// The server at this address, to which the first command connects.
    pub(super) fn single(address: ConnectionInfo) -> Result<Self, RedisError> {
        let client = Client::open(address)?;
        Ok(Self(Arc::new(Connected {
            nodes: vec![client.clone()],
            commands: Commands::ToOne(Box::new(Link::new(client))),
        })))
    }

    /// The cluster to which these nodes belong.
    pub(super) async fn cluster(nodes: Vec<ConnectionInfo>) -> Result<Self, RedisError> {
        let clients = nodes.iter().cloned().map(Client::open);
        let clients = clients.collect::<Result<_, _>>()?;
        let cluster = ClusterClient::builder(nodes)
            .tcp_settings(address::tcp())
            .connection_timeout(CONNECT_WITHIN)
            .response_timeout(ANSWER_WITHIN)
            .overall_response_timeout(Some(STEP_WITHIN))
            .retries(CLUSTER_RETRIES)
            .min_retry_wait(10)
            .max_retry_wait(200)
            .build()?;
        let connection = within(cluster.get_async_connection()).await?;
        Ok(Self(Arc::new(Connected {
            nodes: clients,
            commands: Commands::ToCluster(connection),
        })))
    }

    /// Runs a script on this key. It must do no harm when it is run twice.
    pub(super) async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: impl Fn(&mut Cmd) + Sync,
    ) -> Result<Answer, RedisError> {
        let run = async {
            let answer = self.send(&script.by_digest(key, &arguments)).await;
            match answer {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.send(&script.in_full(key, &arguments)).await
                }
                answer => answer,
            }
        };
        within(run).await
    }

    /// What each server says to this command.
    pub(super) async fn ask_all(&self, command: Cmd) -> Result<Vec<Value>, RedisError> {
        let ask = async {
            match &self.0.commands {
                Commands::ToOne(link) => Ok(vec![link.send(&command).await?.value]),
                Commands::ToCluster(connection) => {
                    let all = MultipleNodeRoutingInfo::AllMasters;
                    let routing = RoutingInfo::MultiNode((all, None));
                    let answers = connection.clone().route_command(command, routing).await?;
                    let answers: BTreeMap<String, Value> = from_redis_value(answers)?;
                    Ok(answers.into_values().collect())
                }
            }
        };
        within(ask).await
    }

    /// The names of all keys that fit the pattern, of which many may be somebody else's.
    pub(super) async fn keys(&self, pattern: &str) -> Result<BTreeSet<Vec<u8>>, RedisError> {
        let mut keys = BTreeSet::new();
        for routing in self.primaries().await? {
            let mut cursor = 0;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern);
                scan.arg("COUNT").arg(SCANNED_AT_ONCE);
                let page = within(self.send_to(scan, routing.clone())).await?;
                let (next, found): (u64, Vec<Vec<u8>>) = from_redis_value(page)?;
                keys.extend(found);
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(keys)
    }

    /// The servers on each of which notifications can be heard, so that one of them suffices.
    pub(super) fn listening_posts(&self) -> &[Client] {
        &self.0.nodes
    }

    async fn send(&self, command: &Cmd) -> Result<Answer, RedisError> {
        match &self.0.commands {
            Commands::ToOne(link) => link.send(command).await,
            // The cluster's client repeats what it has no answer to, and does not say so.
            Commands::ToCluster(connection) => Ok(Answer {
                value: redis::aio::ConnectionLike::req_packed_command(
                    &mut connection.clone(),
                    command,
                )
                .await?
                .extract_error()?,
                repeated: false,
            }),
        }
    }

    async fn send_to(
        &self,
        command: Cmd,
        routing: Option<RoutingInfo>,
    ) -> Result<Value, RedisError> {
        match (&self.0.commands, routing) {
            (Commands::ToCluster(connection), Some(routing)) => {
                connection.clone().route_command(command, routing).await
            }
            _ => Ok(self.send(&command).await?.value),
        }
    }

    /// The way to each server that has keys of its own.
    async fn primaries(&self) -> Result<Vec<Option<RoutingInfo>>, RedisError> {
        let Commands::ToCluster(_) = &self.0.commands else {
            return Ok(vec![None]);
        };
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let ranges = within(self.send(&slots)).await?.value;
        let ranges: Vec<Vec<Value>> = from_redis_value(ranges)?;
        let mut primaries = BTreeMap::new();
        for range in ranges {
            // First and last slot, the primary, its replicas; a server is its address, port and id.
            if let [first, _, primary, ..] = range.as_slice()
                && let Value::Array(primary) = primary
                && let Some(Value::BulkString(id)) = primary.get(2)
                && let Value::Int(first) = first
                && let Some(slot) = u16::try_from(*first).ok().and_then(Slot::new)
            {
                primaries.insert(id.clone(), slot);
            }
        }
        let to_primary = |slot| {
            let route = Route::with_slot(slot, SlotAddr::Master);
            Some(RoutingInfo::SingleNode(
                SingleNodeRoutingInfo::SpecificNode(route),
            ))
        };
        Ok(primaries.into_values().map(to_primary).collect())
    }
}

/// The result, unless it takes too long.
async fn within<T>(call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    tokio::time::timeout(STEP_WITHIN, call)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}
