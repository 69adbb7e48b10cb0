//! Receives notifications of holds that other processes have ended, on one connection, while duplicates wait.
//!
//! A record's channel is open only while there are waiters for that record, so a server with many completions and few
//! waiters sends little. What a broken connection misses is found by reading the record once its channel is open again,
//! and by the waiters, which also poll now and then.

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use parking_lot::Mutex;
use redis::{
    RedisError,
    aio::{PubSubSink, PubSubStream},
};
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    link::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT},
    records::Records,
};
use crate::{
    log_text::Causes,
    record::{Phase, RecordId},
    store::{Polling, Subscription, Wakeups},
};

/// Wakes the waiters in this process. Clones are handles on the same connection.
#[derive(Clone)]
pub(super) struct Listener(Arc<Shared>);

struct Shared {
    records: Records,
    wakeups: Wakeups,
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Default)]
struct State {
    /// Records with new waiters.
    asked: HashSet<RecordId>,
    /// The task that listens, while there are waiters.
    task: Option<JoinHandle<()>>,
}

/// How often waiters poll without a notification: the owner may be dead, and notifications get lost.
const POLLING: Polling = Polling::every(Duration::from_secs(1));

/// How long a channel stays open without waiters, and the connection after the last channel. Also how often the server
/// is asked whether the connection is alive: an idle server sends nothing, and neither does a connection that the
/// network has dropped.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// How long to wait after a failed connection.
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Why listening on a connection ended.
enum End {
    Idle,
    Broken,
}

impl Listener {
    pub(super) fn new(records: Records) -> Self {
        Self(Arc::new(Shared {
            records,
            wakeups: Wakeups::default(),
            state: Mutex::default(),
            asked: Notify::new(),
        }))
    }

    pub(super) fn subscribe(&self, id: &RecordId) -> Subscription {
        let subscription = self.0.wakeups.subscribe(id, POLLING);
        if let Ok(runtime) = Handle::try_current() {
            let mut state = self.0.state.lock();
            state.asked.insert(*id);
            // The task has finished if the runtime on which it ran has ended.
            if state.task.as_ref().is_none_or(JoinHandle::is_finished) {
                state.task = Some(runtime.spawn(listen(Arc::clone(&self.0))));
            }
            self.0.asked.notify_one();
        }
        subscription
    }

    /// Wakes the waiters of this record.
    pub(super) fn wake(&self, id: &RecordId) {
        self.0.wakeups.wake(id);
    }
}

impl Shared {
    async fn connect(&self, attempt: usize) -> Option<(PubSubSink, PubSubStream)> {
        let posts = self.records.server.listening_posts();
        let post = posts.get(attempt % posts.len().max(1))?;
        match timeout(CONNECT_TIMEOUT, post.get_async_pubsub()).await {
            Ok(Ok(connection)) => Some(connection.split()),
            Ok(Err(error)) => {
                tracing::debug!(
                    error = %Causes(&error),
                    "cannot listen for the ends of holds; waiting duplicates poll instead",
                );
                None
            }
            Err(_) => None,
        }
    }

    /// Opens the channels of records that have waiters but no open channel yet.
    async fn listen_to_asked(
        &self,
        sink: &mut PubSubSink,
        listening: &mut HashSet<RecordId>,
    ) -> Result<(), RedisError> {
        let asked = std::mem::take(&mut self.state.lock().asked);
        let asked: Vec<RecordId> = asked
            .into_iter()
            .filter(|id| listening.insert(*id))
            .collect();
        self.listen_to(sink, &asked).await
    }

    async fn listen_to(&self, sink: &mut PubSubSink, ids: &[RecordId]) -> Result<(), RedisError> {
        if ids.is_empty() {
            return Ok(());
        }
        let channels: Vec<String> = ids.iter().map(|id| self.records.keys.name(id)).collect();
        answered(sink.subscribe(channels)).await?;
        // Ends of holds before the channel was open were not announced to this process.
        join_all(ids.iter().map(|id| self.look(id))).await;
        Ok(())
    }

    async fn look(&self, id: &RecordId) {
        match self.records.find(id).await {
            Ok(Some(record)) if matches!(record.phase, Phase::InFlight { .. }) => {}
            Ok(_) => self.wakeups.wake(id),
            // A waiter polls too, and reports the error to its client.
            Err(_) => {}
        }
    }

    /// Closes the channels of records without waiters, and requires at least one reply from the server.
    async fn tidy(
        &self,
        sink: &mut PubSubSink,
        listening: &mut HashSet<RecordId>,
    ) -> Result<(), RedisError> {
        let left: Vec<String> = listening
            .extract_if(|id| !self.wakeups.is_waited_for(id))
            .map(|id| self.records.keys.name(&id))
            .collect();
        if !left.is_empty() {
            return answered(sink.unsubscribe(left)).await;
        }
        match listening.iter().next() {
            // This changes nothing on the server, and needs no more rights than listening does.
            Some(id) => answered(sink.subscribe(self.records.keys.name(id))).await,
            None => Ok(()),
        }
    }

    /// Forgets records without waiters, which may be many while no connection listens. Returns whether the
    /// task may end; the next waiter then starts another one.
    fn retire(&self, listening: &HashSet<RecordId>) -> bool {
        let mut state = self.state.lock();
        state.asked.retain(|id| self.wakeups.is_waited_for(id));
        let nobody = state.asked.is_empty() && listening.is_empty();
        if nobody {
            *state = State::default();
        }
        nobody
    }
}

async fn listen(shared: Arc<Shared>) {
    let mut listening = HashSet::new();
    for attempt in 0.. {
        if let Some((sink, stream)) = shared.connect(attempt).await
            && let End::Idle = listen_on(&shared, sink, stream, &mut listening).await
        {
            return;
        }
        listening.retain(|id| shared.wakeups.is_waited_for(id));
        if shared.retire(&listening) {
            return;
        }
        sleep(RECONNECT_AFTER).await;
    }
}

async fn listen_on(
    shared: &Shared,
    mut sink: PubSubSink,
    mut stream: PubSubStream,
    listening: &mut HashSet<RecordId>,
) -> End {
    let before: Vec<RecordId> = listening.iter().copied().collect();
    if shared.listen_to(&mut sink, &before).await.is_err() {
        return End::Broken;
    }
    let mut tidying = interval(TIDY_EVERY);
    tidying.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let alive = tokio::select! {
            message = stream.next() => match message {
                Some(message) => {
                    if let Some(id) = shared.records.keys.id(message.get_channel_name().as_bytes()) {
                        shared.wakeups.wake(&id);
                    }
                    Ok(())
                }
                None => return End::Broken,
            },
            () = shared.asked.notified() => shared.listen_to_asked(&mut sink, listening).await,
            _ = tidying.tick() => {
                let tidied = shared.tidy(&mut sink, listening).await;
                if shared.retire(listening) {
                    return End::Idle;
                }
                tidied
            }
        };
        if alive.is_err() {
            return End::Broken;
        }
    }
}

/// The server's reply to a change of channels, unless it takes too long.
async fn answered(change: impl Future<Output = Result<(), RedisError>>) -> Result<(), RedisError> {
    timeout(RESPONSE_TIMEOUT, change)
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}
