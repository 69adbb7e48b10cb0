//! Connections that stay with the store between two statements.

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

/// Connections of a pool, which it does not get back after each statement: it would send the server a question each
/// time, and wait for the response, to know that the connection still lives. That wait has no end in sqlx, so the pool
/// gets back only what has just responded.
pub(super) struct CheckedOut {
    options: PgPoolOptions,
    server: PgConnectOptions,
    pool: Mutex<PgPool>,
    /// As many as the pool may have, so that whoever has one finds a connection that is idle or may be opened.
    permits: Semaphore,
    idle: Arc<Idle>,
}

/// The one that was used last comes first, so that the others can go.
#[derive(Default)]
struct Idle(Mutex<Vec<Lent>>);

/// A connection of the pool, which gets it back afterwards and sees whether it is too old, or not needed any more.
struct Lent {
    connection: PoolConnection<Postgres>,
    until: Instant,
    /// When the server last responded on it.
    heard: Instant,
    /// Whether the server gives up waiting for a lock on it.
    is_limited: bool,
}

/// The use of a connection, which goes back to the pool unless it is [kept](Self::keep).
pub(super) struct Used<'a> {
    /// `None` once it is kept or closed.
    lent: Option<Lent>,
    idle: &'a Arc<Idle>,
    _permit: SemaphorePermit<'a>,
}

/// How long a connection stays away from its pool.
const LENT: Duration = Duration::from_secs(5);

/// How long a connection may take to show that it lives, before the pool gets it back.
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

    /// A connection, once there is one that nobody uses; `PoolTimedOut` if that is not until then.
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
        // Where others had used up the time, it says nothing of the pool.
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
            is_limited: false,
        })
    }

    /// Goes on with another pool. Where there is a permit there is room in the pool, unless it waits for connections on
    /// which no response comes any more.
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
        // Its time may have passed with the runtime that would have given it back.
        lent.give_back(self);
        None
    }

    /// Gives those back whose time has passed.
    fn give_back(self: &Arc<Self>) {
        let late = self.take_unless(Lent::may_stay);
        late.into_iter().for_each(|lent| lent.give_back(self));
    }

    /// Closes those on which the server has not responded since then.
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
        // Giving them back takes a runtime, which may have ended.
        self.0.get_mut().drain(..).for_each(Lent::close);
    }
}

impl Lent {
    fn may_stay(&self) -> bool {
        Instant::now() < self.until
    }

    /// Gives it back to the pool, if it still responds. If not, those that are idle may not respond either.
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

    /// Closes it without a word, for which there may be nobody who listens.
    fn close(self) {
        drop(self.connection.detach());
    }
}

impl Used<'_> {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.lent().connection
    }

    /// The connection, with this statement executed once for all that follow on it.
    pub(super) async fn limited(
        &mut self,
        limit: &'static str,
    ) -> Result<&mut PgConnection, sqlx::Error> {
        let lent = self.lent();
        if !lent.is_limited {
            raw_sql(limit).execute(&mut *lent.connection).await?;
            lent.is_limited = true;
        }
        Ok(&mut lent.connection)
    }

    fn lent(&mut self) -> &mut Lent {
        match &mut self.lent {
            Some(lent) => lent,
            None => unreachable!("it is not used once it is kept or closed"),
        }
    }

    /// Keeps it for the next statement: the last one has ended, and nothing is on its way.
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

    /// Closes it: it is broken.
    pub(super) fn close(mut self) {
        if let Some(mut lent) = self.lent.take() {
            lent.connection.close_on_drop();
        }
    }

    /// Closes it because it has not responded since then, and with it all others on which nothing was heard since: what
    /// has silenced one may have silenced them.
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
