//! The user's connections, and how a statement gets through one of them, or fails in time.

use std::time::Duration;

use sqlx::{
    Connection, PgPool, Postgres,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout_at},
};

use super::{
    checked_out::{CheckedOut, Used},
    error::{Failure, store_error},
    route::Route,
};
use crate::{StoreError, log_text::Causes};

/// A statement with its values. A connection is taken for each one only, so nobody holds one while it waits.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

pub(super) struct Connections {
    /// The application's.
    pool: PgPool,
    /// The store's own, to the same database. In a connection that others use, somebody who stopped waiting for the
    /// begin of a transaction may have left that open: what is written there is committed when nobody knows, or never.
    own: CheckedOut,
    route: OnceCell<Route>,
}

/// Which failures allow a statement to be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retry {
    /// Every one that may pass: the statement recognises what it has done already.
    Always,
    /// Only those after which it is certain that nothing was done.
    IfNotApplied,
}

/// How long a statement may take, from waiting for a connection to the last row. It ends before the engine gives
/// up, so that the connection can still be put in order.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// How much of that is for waiting for a connection. The pool goes on trying while the server refuses any.
const ACQUIRE: Duration = Duration::from_secs(2);

/// How long the server waits for a lock before it gives up, so that no process of it waits for one behind a client that has
/// given up. It ends before [`STATEMENT_TIMEOUT`] does. The statements say it too, in [`SET_LIMIT`] and [`BEGIN_LIMITED`].
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// For a connection that has a process of the server to itself.
const SET_LIMIT: &str = "set lock_timeout = '3s'";

/// For one transaction, because in a pooler's process the next one is another client's.
const BEGIN_LIMITED: &str = "begin; set local lock_timeout = '3s'";

/// Between a failure and the next try.
const PAUSE: Duration = Duration::from_millis(10);

/// The same where the server takes no writes: each try is a new connection, until one leads to the new primary.
const READ_ONLY_PAUSE: Duration = Duration::from_millis(250);

impl Connections {
    /// Connections like those of the pool, and as many at most.
    pub(super) fn beside(pool: PgPool) -> Self {
        // Statements can be sent again, so none has to ask first whether the connection still lives.
        let options = pool.options().clone();
        let options = options.min_connections(0).test_before_acquire(false);
        let server = pool.connect_options().as_ref().clone();
        Self {
            own: CheckedOut::new(options, server),
            pool,
            route: OnceCell::new(),
        }
    }

    pub(super) const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// How the server is reached, once that has been found out.
    pub(super) fn known_route(&self) -> Option<Route> {
        self.route.get().copied()
    }

    /// How the server is reached. It is found out once.
    pub(super) async fn route(&self) -> Result<Route, sqlx::Error> {
        if let Some(route) = self.route.get() {
            return Ok(*route);
        }
        let deadline = Instant::now() + STATEMENT_TIMEOUT;
        let mut used = self.own.acquire(deadline).await?;
        let sent = Instant::now();
        let found = timeout_at(deadline, self.find_route(&mut used)).await;
        found.unwrap_or_else(|_| {
            used.close_silent(sent);
            Err(sqlx::Error::PoolTimedOut)
        })
    }

    pub(super) async fn run<'q>(
        &self,
        retry: Retry,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, StoreError> {
        self.run_in_time(retry, statement)
            .await?
            .map_err(store_error)
    }

    /// As [`run`](Self::run), for a statement that gives up its row soon: `None` if another session holds that. Nothing was
    /// done then.
    pub(super) async fn run_unless_locked<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<Vec<PgRow>>, StoreError> {
        let asked = Instant::now();
        match self.run_in_time(Retry::Always, statement).await? {
            Ok(rows) => Ok(Some(rows)),
            // The error does not say what is locked. The whole table is waited for longer, and says nothing of the key.
            Err(error)
                if Failure::of(&error) == Failure::Locked && asked.elapsed() < LOCK_TIMEOUT =>
            {
                Ok(None)
            }
            Err(error) => Err(store_error(error)),
        }
    }

    /// The outer error is about the time, or about getting a connection.
    async fn run_in_time<'q>(
        &self,
        retry: Retry,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Result<Vec<PgRow>, sqlx::Error>, StoreError> {
        let deadline = Instant::now() + STATEMENT_TIMEOUT;
        let mut lost = None;
        let mut is_first = true;
        loop {
            let sent = self.run_once(statement(), deadline).await;
            let error = match sent.map_err(|error| error.was_sent_if(!is_first))? {
                Ok(rows) => return Ok(Ok(rows)),
                Err(error) => error,
            };
            is_first = false;
            let failure = Failure::of(&error);
            if failure == Failure::Locked
                && let Some(lost) = lost
            {
                // The lock may be that of this very statement, sent before, whose server process still goes on.
                return Ok(Err(lost));
            }
            let may_repeat = match (failure, retry) {
                (Failure::Undone | Failure::ReadOnly, _)
                | (Failure::ConnectionLost, Retry::Always) => true,
                (Failure::ConnectionLost, Retry::IfNotApplied)
                | (Failure::Locked | Failure::Lasting, _) => false,
            };
            let pause = match failure {
                Failure::ReadOnly => READ_ONLY_PAUSE,
                _ => PAUSE,
            };
            if !may_repeat || Instant::now() + pause >= deadline {
                return Ok(Err(error));
            }
            tracing::debug!(
                error = %Causes(&error),
                "a statement is sent to PostgreSQL again"
            );
            if failure == Failure::ConnectionLost {
                lost = Some(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The outer error is about the time, or about getting a connection.
    async fn run_once(
        &self,
        statement: Statement<'_>,
        deadline: Instant,
    ) -> Result<Result<Vec<PgRow>, sqlx::Error>, StoreError> {
        let acquired = deadline.min(Instant::now() + ACQUIRE);
        let mut used = self
            .own
            .acquire(acquired)
            .await
            .map_err(|error| match error {
                sqlx::Error::PoolTimedOut => {
                    StoreError::unreached(within("no connection", ACQUIRE))
                }
                error => StoreError::unreached(error),
            })?;
        let sent = Instant::now();
        match timeout_at(deadline, self.execute(&mut used, statement)).await {
            Ok(Ok(rows)) => {
                used.keep();
                Ok(Ok(rows))
            }
            Ok(Err(error)) => {
                if matches!(
                    Failure::of(&error),
                    Failure::ConnectionLost | Failure::ReadOnly
                ) {
                    used.close();
                }
                Ok(Err(error))
            }
            Err(_) => {
                // A response that comes yet must not be taken for that to the next statement.
                used.close_silent(sent);
                Err(StoreError::unavailable(within(
                    "no answer",
                    STATEMENT_TIMEOUT,
                )))
            }
        }
    }

    async fn execute(
        &self,
        used: &mut Used<'_>,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        // As long as this cannot be found out, the way that always works is taken.
        let route = match self.route.get() {
            Some(route) => *route,
            None => self.find_route(used).await.unwrap_or(Route::Pooled),
        };
        match route {
            Route::Direct => statement.fetch_all(used.limited(SET_LIMIT).await?).await,
            // A statement without a name is replaced by whoever comes next, so the transaction has to keep the
            // server's process until the statement is executed.
            Route::Pooled => {
                let mut transaction = used.connection().begin_with(BEGIN_LIMITED).await?;
                let statement = statement.persistent(false);
                let rows = statement.fetch_all(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(rows)
            }
        }
    }

    async fn find_route(&self, used: &mut Used<'_>) -> Result<Route, sqlx::Error> {
        let options = self.pool.connect_options();
        self.route
            .get_or_try_init(|| Route::find(used.connection(), &options))
            .await
            .copied()
    }
}

fn within(what: &str, time: Duration) -> String {
    format!("{what} within {} seconds", time.as_secs())
}
