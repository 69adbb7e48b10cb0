//! Connections that stay with the store between two statements.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

/// Connections of a pool, which it does not get back after each statement: it would send the server a question each
/// time, and wait for the answer, to know that the connection still lives.
#[derive(Debug)]
pub(super) struct Kept {
    pool: PgPool,
    /// As many as the pool may have, so that whoever has one finds a connection that is idle or may be opened.
    permits: Semaphore,
    idle: Arc<Idle>,
}

/// The one that was used last comes first, so that the others can go.
#[derive(Debug, Default)]
struct Idle(Mutex<Vec<Lent>>);

/// A connection of the pool, which gets it back afterwards and sees whether it is too old, or not needed any more.
#[derive(Debug)]
struct Lent {
    connection: PoolConnection<Postgres>,
    until: Instant,
}

/// The use of a connection, which goes back to the pool unless it is [kept](Self::keep).
pub(super) struct Used<'a> {
    lent: Lent,
    idle: &'a Idle,
    _permit: SemaphorePermit<'a>,
}

/// How long a connection stays away from its pool.
const LENT: Duration = Duration::from_secs(5);

impl Kept {
    pub(super) fn new(pool: PgPool) -> Self {
        let most = pool.options().get_max_connections() as usize;
        Self {
            permits: Semaphore::new(most.min(Semaphore::MAX_PERMITS)),
            pool,
            idle: Arc::default(),
        }
    }

    /// A connection, once there is one that nobody uses.
    pub(super) async fn acquire(&self) -> Result<Used<'_>, sqlx::Error> {
        let permit = self.permits.acquire().await;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let lent = match self.idle.take() {
            Some(lent) => lent,
            None => self.lend().await?,
        };
        Ok(Used {
            lent,
            idle: &self.idle,
            _permit: permit,
        })
    }

    async fn lend(&self) -> Result<Lent, sqlx::Error> {
        let connection = self.pool.acquire().await?;
        let until = Instant::now() + LENT;
        let idle = Arc::downgrade(&self.idle);
        tokio::spawn(async move {
            sleep_until(until).await;
            if let Some(idle) = idle.upgrade() {
                idle.give_back();
            }
        });
        Ok(Lent { connection, until })
    }
}

impl Idle {
    fn take(&self) -> Option<Lent> {
        let lent = self.0.lock().pop()?;
        // Its time may have passed with the runtime that would have given it back.
        lent.may_stay().then_some(lent)
    }

    /// Gives those back whose time has passed.
    fn give_back(&self) {
        self.0.lock().retain(Lent::may_stay);
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // Giving them back takes a runtime, which may have ended.
        for lent in self.0.get_mut().drain(..) {
            drop(lent.connection.detach());
        }
    }
}

impl Lent {
    fn may_stay(&self) -> bool {
        Instant::now() < self.until
    }
}

impl Used<'_> {
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.lent.connection
    }

    /// Keeps it for the next statement: the last one has ended, and nothing is on its way.
    pub(super) fn keep(self) {
        if self.lent.may_stay() {
            self.idle.0.lock().push(self.lent);
        }
    }

    /// Has it closed: it is broken, or an answer may be on its way.
    pub(super) fn close(mut self) {
        self.lent.connection.close_on_drop();
    }
}
