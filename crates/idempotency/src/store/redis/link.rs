//! One connection to one server for all commands, which is replaced after it fails.

use std::time::Duration;

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

use super::error::says;

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the server may take to reply to a command. A command without a reply may have run.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that many callers share for their commands.
///
/// This is not the connection manager of the `redis` crate, because that manager keeps a connection on which no replies
/// arrive, and one to a server that has become a replica; and it lets the first command after a lost connection fail.
pub(super) struct Link {
    client: Client,
    /// All callers that need a connection wait for the same one.
    current: Mutex<Option<Connecting>>,
}

/// A command, and how it is sent.
#[derive(Clone, Copy)]
pub(super) enum Sent<'a> {
    Plain(&'a Cmd),
    /// To the node to which the key's slot is moving.
    Asking(&'a Cmd),
}

type Connecting = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// Why a command has no reply.
pub(super) enum Failure {
    /// There is no connection, and none could be established.
    Unconnected(RedisError),
    /// The connection was established, but is no longer usable.
    Broken(RedisError),
    /// The server refused the command.
    Refused(RedisError),
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            current: Mutex::default(),
        }
    }

    /// Sends a command that may safely run twice, and sets `repeated` if an earlier try may have run whose reply was
    /// lost.
    pub(super) async fn send(&self, sent: Sent<'_>, repeated: &mut bool) -> Result<Value, Failure> {
        let first = self.try_send(sent).await;
        match first {
            // Most often nothing was sent, because the server closed an idle connection or was restarted.
            Err(Failure::Broken(error)) if !error.is_timeout() => {
                *repeated |= !is_unfit(&error);
                match self.try_send(sent).await {
                    // It may have been sent nevertheless.
                    Err(Failure::Unconnected(_)) => Err(Failure::Broken(error)),
                    second => second,
                }
            }
            first => first,
        }
    }

    async fn try_send(&self, sent: Sent<'_>) -> Result<Value, Failure> {
        let connecting = self.connect();
        let mut connection = match connecting.clone().await {
            Ok(connection) => connection,
            Err(error) => {
                self.discard(&connecting);
                return Err(Failure::Unconnected(error));
            }
        };
        let reply = match sent {
            Sent::Plain(command) => connection.req_packed_command(command).await,
            Sent::Asking(command) => {
                let mut both = Pipeline::new();
                both.cmd("ASKING").add_command(command.clone());
                let replies = connection.req_packed_commands(&both, 1, 1).await;
                replies.map(|mut replies| replies.pop().unwrap_or(Value::Nil))
            }
        };
        reply.and_then(Value::extract_error).map_err(|error| {
            if !is_broken(&error) {
                return Failure::Refused(error);
            }
            self.discard(&connecting);
            Failure::Broken(error)
        })
    }

    fn connect(&self) -> Connecting {
        let mut current = self.current.lock();
        let connecting = current.get_or_insert_with(|| {
            let client = self.client.clone();
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(RESPONSE_TIMEOUT));
            let connecting = async move {
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
            };
            connecting.boxed().shared()
        });
        connecting.clone()
    }

    /// Lets the next command make a new connection, unless another caller has already replaced this one.
    fn discard(&self, failed: &Connecting) {
        let mut current = self.current.lock();
        if current
            .as_ref()
            .is_some_and(|current| current.ptr_eq(failed))
        {
            *current = None;
        }
    }
}

impl Failure {
    pub(super) fn into_error(self) -> RedisError {
        match self {
            Self::Unconnected(error) | Self::Broken(error) | Self::Refused(error) => error,
        }
    }
}

/// Whether another connection may do better. A network that drops packets looks like a slow server.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || is_unfit(error)
}

/// Whether the server accepts no writes, so that nothing was done: after a failover the old connection can lead to a
/// server that only reads.
fn is_unfit(error: &RedisError) -> bool {
    says(error, "READONLY") || says(error, "MASTERDOWN")
}
