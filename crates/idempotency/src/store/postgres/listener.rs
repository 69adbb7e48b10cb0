//! Receives notifications of holds that others end, on a connection of its own.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sqlx::{
    Acquire, Connection,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{Polling, Wakeups, connections::Connections, route::Route};
use crate::{log_text::Causes, record::RecordId};

/// The background task that listens, from the first waiting duplicate until the store is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    state: watch::Sender<State>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is not known yet.
    Starting,
    /// From now on no notification is missed.
    On,
    /// The connection is gone, or a pooler is in between, which passes on no notifications.
    Off,
}

const CHANNEL: &str = "idempotency";

/// How often waiters poll while notifications arrive: one may be lost, and an owner that dies sends none.
const MIN_POLLING: Polling = Polling::every(Duration::from_secs(1));

/// How often they poll while none arrive.
const POLLING_WITHOUT_LISTENER: Polling =
    Polling::backing_off(Duration::from_millis(25), Duration::from_secs(1));

/// How long a claim waits for the connection before it continues without it.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the connection may be silent before it is tested. A dead connection is silent too.
const QUIET: Duration = Duration::from_secs(4);

/// How long the server may take to respond on this connection.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(4);

/// The pause between two connections.
const PAUSE: Duration = Duration::from_secs(1);

impl Listener {
    pub(super) fn new() -> Self {
        Self {
            state: watch::Sender::new(State::Off),
            task: Mutex::default(),
        }
    }

    /// Starts the task with the first waiting duplicate, and again if its runtime has ended.
    pub(super) fn ensure_running(&self, connections: &Arc<Connections>, wakeups: &Wakeups) {
        let mut task = self.task.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            self.state.send_replace(State::Starting);
            let (connections, wakeups) = (Arc::clone(connections), wakeups.clone());
            *task = Some(tokio::spawn(listen(
                connections,
                wakeups,
                self.state.clone(),
            )));
        }
    }

    pub(super) fn polling(&self) -> Polling {
        match *self.state.borrow() {
            State::On => MIN_POLLING,
            State::Starting | State::Off => POLLING_WITHOUT_LISTENER,
        }
    }

    /// Whether notifications will be received from now on.
    pub(super) async fn is_on(&self) -> bool {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| *state != State::Starting);
        matches!(timeout(LISTEN_TIMEOUT, settled).await, Ok(Ok(state)) if *state == State::On)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut() {
            task.abort();
        }
    }
}

async fn listen(connections: Arc<Connections>, wakeups: Wakeups, state: watch::Sender<State>) {
    loop {
        let ended = hear(&connections, &wakeups, &state).await;
        state.send_replace(State::Off);
        match ended {
            // The next waiter asks again.
            Ok(Route::Pooled) => return,
            Ok(Route::Direct) => {}
            Err(error) => tracing::debug!(
                error = %Causes(&error),
                "cannot receive notifications from PostgreSQL; waiting duplicates poll instead",
            ),
        }
        sleep(PAUSE).await;
    }
}

/// Wakes waiters until the connection is lost.
async fn hear(
    connections: &Connections,
    wakeups: &Wakeups,
    state: &watch::Sender<State>,
) -> Result<Route, sqlx::Error> {
    let route = connections.route().await?;
    if route == Route::Pooled {
        return Ok(route);
    }
    // Never one of the application's pool, which may have no second one.
    let own = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with(connections.pool().connect_options().as_ref().clone());
    let listening = async {
        let mut listener = PgListener::connect_with(&own).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(listener)
    };
    let mut listener = in_time(listening).await?;
    state.send_replace(State::On);
    loop {
        // A notification that has partly arrived stays with the connection.
        let Ok(received) = timeout(QUIET, listener.try_recv()).await else {
            in_time(async { listener.acquire().await?.ping().await }).await?;
            continue;
        };
        let Some(notification) = received? else {
            return Ok(route);
        };
        if let Some(id) = id(notification.payload()) {
            wakeups.wake(&id);
        }
    }
}

async fn in_time<T>(
    response: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(RESPONSE_TIMEOUT, response)
        .await
        .unwrap_or_else(|late| Err(std::io::Error::from(late).into()))
}

/// The id in a notification: 64 hexadecimal digits. Any session may send others.
fn id(payload: &str) -> Option<RecordId> {
    let mut id = [0; 32];
    if payload.len() != 2 * id.len() {
        return None;
    }
    for (byte, digits) in id.iter_mut().zip(payload.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(RecordId::from_bytes(id))
}
