//! Keeps connections checked out between statements.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sqlx::{
    Connection, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
    raw_sql,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until, timeout, timeout_at},
};

/// Connections of a pool that are not returned to it after each statement, because sqlx pings the server whenever one
/// returns, and waits for the reply without a time limit. So the pool gets back only connections on which the server
/// has just responded.
pub(super) struct CheckedOut {
    options: PgPoolOptions,
    server: PgConnectOptions,
    pool: Mutex<PgPool>,
    /// As many as the pool may have, so that the holder of a permit finds a connection that is idle or may be opened.
    permits: Semaphore,
    idle: Arc<Idle>,
}

/// The most recently used connection comes first, so that the others can be returned.
#[derive(Default)]
struct Idle(Mutex<Vec<Lent>>);

/// A connection of the pool. The pool gets it back later, and closes it if it is too old or no longer needed.
struct Lent {
    connection: PoolConnection<Postgres>,
    until: Instant,
    /// When the server last responded on it.
    heard: Instant,
    /// Whether the connection has the settings of the statements.
    is_set_up: bool,
}

/// A connection in use, which returns to the pool unless it is [kept](Self::keep).
pub(super) struct Used<'a> {
    /// `None` once it is kept or closed.
    lent: Option<Lent>,
    idle: &'a Arc<Idle>,
    _permit: SemaphorePermit<'a>,
}

/// How long a connection is kept away from its pool.
const LENT: Duration = Duration::from_secs(5);

/// How long a connection may take to respond to a ping before it returns to the pool.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

impl CheckedOut {
    pub(super) fn new(options: PgPoolOptions, server: PgConnectOptions) -> Self {
        let most = options.get_max_connections() as usize;
        Self {
            pool: Mutex::new(options.clone().connect_lazy_with(server.clone())),
            options,
            server,
            permits: Semaphore::new(most.min(Semaphore::MAX_PERMITS)),
            idle: Arc::default(),
        }
    }

    /// A connection, once one is free; `PoolTimedOut` if there is none by the deadline.
    pub(super) async fn acquire(&self, deadline: Instant) -> Result<Used<'_>, sqlx::Error> {
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let lent = match self.idle.take() {
            Some(lent) => lent,
            None => self.lend(deadline).await?,
        };
        Ok(Used {
            lent: Some(lent),
            idle: &self.idle,
            _permit: permit,
        })
    }

    async fn lend(&self, deadline: Instant) -> Result<Lent, sqlx::Error> {
        let pool = self.pool.lock().clone();
        let asked = Instant::now();
        let acquired = timeout_at(deadline, pool.acquire()).await;
        let acquired = acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        // If waiting for a permit used up the time, a failure says nothing about the pool.
        let enough = self.options.get_acquire_timeout().min(PING_TIMEOUT);
        if matches!(acquired, Err(sqlx::Error::PoolTimedOut)) && asked.elapsed() >= enough {
            self.replace();
        }
        let connection = acquired?;
        let now = Instant::now();
        let until = now + LENT;
        let idle = Arc::downgrade(&self.idle);
        tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(idle) = idle.upgrade() {
                idle.give_back();
            }
        });
        Ok(Lent {
            connection,
            until,
            heard: now,
            is_set_up: false,
        })
    }

    /// Continues with another pool. The holder of a permit finds room in the pool, unless the pool waits for
    /// connections on which no response comes any more.
    fn replace(&self) {
        let fresh = self.options.clone().connect_lazy_with(self.server.clone());
        *self.pool.lock() = fresh;
    }
}

impl Idle {
    fn take(self: &Arc<Self>) -> Option<Lent> {
        let lent = self.0.lock().pop()?;
        if lent.may_stay() {
            return Some(lent);
        }
        // Its time may have passed after the runtime that would have returned it had ended.
        lent.give_back(self);
        None
    }

    /// Returns the connections whose time has passed.
    fn give_back(self: &Arc<Self>) {
        let late = self.take_unless(Lent::may_stay);
        late.into_iter().for_each(|lent| lent.give_back(self));
    }

    /// Closes the connections on which the server has not responded since then.
    fn close_silent(&self, since: Instant) {
        let silent = self.take_unless(|lent| lent.heard >= since);
        silent.into_iter().for_each(Lent::close);
    }

    fn take_unless(&self, may_stay: impl Fn(&Lent) -> bool) -> Vec<Lent> {
        let mut idle = self.0.lock();
        idle.extract_if(.., |lent| !may_stay(lent)).collect()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // Returning them needs a runtime, which may have ended.
        self.0.get_mut().drain(..).for_each(Lent::close);
    }
}

impl Lent {
    fn may_stay(&self) -> bool {
        Instant::now() < self.until
    }

    /// Returns the connection to the pool if the server still responds on it. If not, the idle connections may be dead
    /// too.
    fn give_back(mut self, idle: &Arc<Idle>) {
        let Ok(runtime) = Handle::try_current() else {
            return self.close();
        };
        let idle = Arc::downgrade(idle);
        runtime.spawn(async move {
            let asked = Instant::now();
            let responded = timeout(PING_TIMEOUT, self.connection.ping()).await;
            if responded.is_err()
                && let Some(idle) = idle.upgrade()
            {
                idle.close_silent(asked);
            }
            if !matches!(responded, Ok(Ok(()))) {
                self.close();
            }
        });
    }

    /// Closes it without a message, because the server may not be listening.
    fn close(self) {
        drop(self.connection.detach());
    }
}

impl Used<'_> {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.lent().connection
    }

    /// The connection, after executing this statement once for all that follow on it.
    pub(super) async fn set_up(
        &mut self,
        settings: &'static str,
    ) -> Result<&mut PgConnection, sqlx::Error> {
        let lent = self.lent();
        if !lent.is_set_up {
            raw_sql(settings).execute(&mut *lent.connection).await?;
            lent.is_set_up = true;
        }
        Ok(&mut lent.connection)
    }

    fn lent(&mut self) -> &mut Lent {
        match &mut self.lent {
            Some(lent) => lent,
            None => unreachable!("it is not used after it is kept or closed"),
        }
    }

    /// Keeps it for the next statement: the last one has ended, and nothing is in flight.
    pub(super) fn keep(mut self) {
        if let Some(mut lent) = self.lent.take() {
            lent.heard = Instant::now();
            if lent.may_stay() {
                self.idle.0.lock().push(lent);
            } else {
                lent.give_back(self.idle);
            }
        }
    }

    /// Closes it because it is broken.
    pub(super) fn close(mut self) {
        if let Some(mut lent) = self.lent.take() {
            lent.connection.close_on_drop();
        }
    }

    /// Closes it because the server has not responded on it since then, and closes all other connections that have been
    /// silent as long, because they may have the same cause.
    pub(super) fn close_silent(mut self, since: Instant) {
        if let Some(lent) = self.lent.take() {
            lent.close();
        }
        self.idle.close_silent(since);
    }
}

impl Drop for Used<'_> {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.give_back(self.idle);
        }
    }
}
