//! One connection to one server, for all commands, and the next one once it has failed.

use std::time::Duration;

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

/// How long making a connection may take.
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// How long the server may take for a command. It may have run one that it has not answered.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// A connection on which commands of many callers travel together.
///
/// This is not the crate's own connection manager, because that keeps a connection that has stopped answering, and one
/// to a server that has become a replica; and it lets the first command after a lost connection fail.
pub(super) struct Link {
    client: Client,
    /// Everybody who wants a connection waits for the same one.
    current: Mutex<Option<Connecting>>,
}

type Connecting = Shared<BoxFuture<'static, Result<MultiplexedConnection, RedisError>>>;

/// A command's answer.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Whether the command was sent before on a connection that broke, and may have run then.
    pub(super) repeated: bool,
}

enum Failure {
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

    /// Sends a command that does no harm when it is run twice.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Answer, RedisError> {
        let mut repeated = false;
        loop {
            match self.try_send(command).await {
                Ok(value) => return Ok(Answer { value, repeated }),
                // Most often nothing was sent: the server has closed an idle connection, or was restarted.
                Err(Failure::Broken(error)) if !repeated && !error.is_timeout() => repeated = true,
                Err(
                    Failure::Unconnected(error) | Failure::Broken(error) | Failure::Refused(error),
                ) => return Err(error),
            }
        }
    }

    async fn try_send(&self, command: &Cmd) -> Result<Value, Failure> {
        let connecting = self.connect();
        let mut connection = match connecting.clone().await {
            Ok(connection) => connection,
            Err(error) => {
                self.discard(&connecting);
                return Err(Failure::Unconnected(error));
            }
        };
        let answer = connection.req_packed_command(command).await;
        answer.and_then(Value::extract_error).map_err(|error| {
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
                .set_connection_timeout(Some(CONNECT_WITHIN))
                .set_response_timeout(Some(ANSWER_WITHIN));
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

/// Whether another connection may do better. A network that swallows packets looks like a slow server; and after a
/// failover the old connection can lead to a server that only reads.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}
