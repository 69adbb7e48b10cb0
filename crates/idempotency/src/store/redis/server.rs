//! What the store sees of Redis: something that takes commands, whether one server or a cluster.

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{Client, Cmd, ConnectionInfo, RedisError, Value, from_redis_value};
use tokio::time::{Instant, timeout_at};

use super::{
    cluster::Cluster,
    error::says,
    link::{Failure, Link, Sent},
    script::{Script, Step},
    slots::Node,
    together::{Attempt, Lanes},
};

/// One server or a cluster. Clones are handles on the same connections.
#[derive(Clone)]
pub(super) enum Server {
    One(Arc<One>),
    Cluster(Cluster),
}

pub(super) struct One {
    client: Client,
    link: Arc<Link>,
    lanes: Lanes,
    /// Whether all keys are known to be on this very server.
    is_standalone: AtomicBool,
}

/// What a script replies about one step.
pub(super) struct StepReply {
    pub(super) value: Value,
    /// Whether the script was sent before on a connection that broke, and may have run then.
    pub(super) repeated: bool,
}

/// How long a step may take in all, with connections and retries. Less than the engine waits.
pub(super) const STEP_WITHIN: Duration = Duration::from_secs(3);

/// How many keys a server scans before it serves its other clients.
const SCANNED_AT_ONCE: usize = 1000;

impl Server {
    /// The server at this address; the first command connects.
    pub(super) fn single(address: ConnectionInfo) -> Result<Self, RedisError> {
        let client = Client::open(address)?;
        let link = Arc::new(Link::new(client.clone()));
        let lanes = Lanes::new(&link);
        Ok(Self::One(Arc::new(One {
            client,
            link,
            lanes,
            is_standalone: AtomicBool::new(false),
        })))
    }

    /// The cluster to which these nodes belong.
    pub(super) async fn cluster(nodes: Vec<ConnectionInfo>) -> Result<Self, RedisError> {
        within(Cluster::connect(nodes)).await.map(Self::Cluster)
    }

    /// Where steps of a kind wait for each other. The keys of a cluster are on several nodes, so each step goes alone there. So it
    /// does on what may be a proxy, which could send all steps of a call to the server of the first one's key, and where a call has been
    /// refused because of its keys.
    pub(super) fn lanes(&self) -> Option<&Lanes> {
        match self {
            Self::One(one) => {
                let is_standalone = one.is_standalone.load(Ordering::Relaxed);
                (is_standalone && one.lanes.are_open()).then_some(&one.lanes)
            }
            Self::Cluster(_) => None,
        }
    }

    /// Notes that this server has all keys, by its own word.
    pub(super) fn note_standalone(&self) {
        if let Self::One(one) = self {
            one.is_standalone.store(true, Ordering::Relaxed);
        }
    }

    /// Takes a step alone. The script must be safe to run twice.
    pub(super) async fn run(
        &self,
        attempt: Attempt,
        script: &Script,
        step: Step,
    ) -> Result<StepReply, RedisError> {
        let Attempt {
            deadline,
            mut repeated,
        } = attempt;
        let step = [step];
        let run = async {
            let by_digest = script.by_digest(&step);
            let value = match self.send(step[0].key(), &by_digest, &mut repeated).await {
                Err(error) if says(&error, "NOSCRIPT") => {
                    let in_full = script.in_full(&step);
                    self.send(step[0].key(), &in_full, &mut repeated).await?
                }
                value => value?,
            };
            Ok(StepReply {
                value: only(value),
                repeated,
            })
        };
        match timeout_at(deadline, run)
            .await
            .unwrap_or_else(|_| silence())
        {
            // This one was not sent, but an earlier one was.
            Err(error) if repeated && error.is_connection_refusal() => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, error).into())
            }
            ended => ended,
        }
    }

    /// The reply of each server to this command.
    pub(super) async fn ask_all(&self, command: &Cmd) -> Result<Vec<Value>, RedisError> {
        let ask = async {
            match self {
                Self::One(one) => Ok(vec![one.send(command, &mut false).await?]),
                Self::Cluster(cluster) => cluster.ask_all(command).await,
            }
        };
        within(ask).await
    }

    /// The names of all keys that match the pattern; many may belong to other applications.
    pub(super) async fn keys(&self, pattern: &str) -> Result<BTreeSet<Vec<u8>>, RedisError> {
        let mut keys = BTreeSet::new();
        for primary in self.primaries() {
            let mut cursor = 0;
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(pattern);
                scan.arg("COUNT").arg(SCANNED_AT_ONCE);
                let page = within(self.ask(primary.as_ref(), &scan)).await?;
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

    /// The servers, each of which sends all notifications, so that one connection suffices.
    pub(super) fn listening_posts(&self) -> Vec<Client> {
        match self {
            Self::One(one) => vec![one.client.clone()],
            Self::Cluster(cluster) => cluster.clients(),
        }
    }

    async fn send(
        &self,
        key: &str,
        command: &Cmd,
        repeated: &mut bool,
    ) -> Result<Value, RedisError> {
        match self {
            Self::One(one) => one.send(command, repeated).await,
            Self::Cluster(cluster) => cluster.send(key, command, repeated).await,
        }
    }

    async fn ask(&self, primary: Option<&Node>, command: &Cmd) -> Result<Value, RedisError> {
        match (self, primary) {
            (Self::Cluster(cluster), Some(node)) => cluster.ask(node, command).await,
            (Self::One(one), _) => one.send(command, &mut false).await,
            (Self::Cluster(_), None) => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        }
    }

    /// Each server that has keys of its own; `None` stands for a single server.
    fn primaries(&self) -> Vec<Option<Node>> {
        match self {
            Self::One(_) => vec![None],
            Self::Cluster(cluster) => cluster.primaries().into_iter().map(Some).collect(),
        }
    }
}

impl One {
    async fn send(&self, command: &Cmd, repeated: &mut bool) -> Result<Value, RedisError> {
        let sent = self.link.send(Sent::Plain(command), repeated).await;
        sent.map_err(Failure::into_error)
    }
}

/// The result, unless it takes too long.
async fn within<T>(call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    let deadline = Instant::now() + STEP_WITHIN;
    timeout_at(deadline, call)
        .await
        .unwrap_or_else(|_| silence())
}

fn silence<T>() -> Result<T, RedisError> {
    Err(io::Error::from(io::ErrorKind::TimedOut).into())
}

/// What a script replies about its only step. A reply of another form is nothing that a step expects.
fn only(value: Value) -> Value {
    match value {
        Value::Array(mut replies) if replies.len() == 1 => replies.pop().unwrap_or(Value::Nil),
        _ => Value::Nil,
    }
}
