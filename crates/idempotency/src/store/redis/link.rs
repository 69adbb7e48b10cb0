//! One connection to one server, for all commands, and the next one once it has failed.

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

/// How long making a connection may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the server may take for a command. It may have run one that it has not answered.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection on which commands of many callers travel together.
///
/// This is not the crate's own connection manager, because that keeps a connection that has stopped answering, and one
/// to a server that has become a replica; and it lets the first command after a lost connection fail.
pub(super) struct Link {
    client: Client,
    /// Everybody who wants a connection waits for the same one.
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

/// Why a command has no answer.
pub(super) enum Failure {
    /// There is no connection, and none could be made.
    Unconnected(RedisError),
    /// The connection was there, and is of no use any more.
    Broken(RedisError),
    /// The server did not do what the command says.
    Refused(RedisError),
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            current: Mutex::default(),
        }
    }

    /// Sends a command that does no harm when it is run twice, and takes note if an earlier one may have run whose reply
    /// was lost.
    pub(super) async fn send(&self, sent: Sent<'_>, repeated: &mut bool) -> Result<Value, Failure> {
        let first = self.try_send(sent).await;
        match first {
            // Most often nothing was sent: the server has closed an idle connection, or was restarted.
            Err(Failure::Broken(error)) if !error.is_timeout() => {
                *repeated |= !is_unfit(&error);
                match self.try_send(sent).await {
                    // It may have been sent all the same.
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

    /// Has the next command make a new connection, unless somebody has seen to that already.
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

/// Whether another connection may do better. A network that swallows packets looks like a slow server.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || is_unfit(error)
}

/// Whether the server does not take commands that write, so that nothing was done: after a failover the old connection
/// can lead to a server that only reads.
fn is_unfit(error: &RedisError) -> bool {
    says(error, "READONLY") || says(error, "MASTERDOWN")
}
