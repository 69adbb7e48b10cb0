//! The store's connections, and how a statement is executed on one of them or fails in time.

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
    NAME,
    checked_out::{CheckedOut, Used},
    error::{Failure, is_undone, store_error},
    route::{BEGIN_LIMITED, Route, SET_UP},
};
use crate::{
    log_text::Causes,
    store::{
        StoreError,
        lane::{self, Attempt as _},
    },
};

/// A statement with its values. It takes a connection only while it runs, so a waiting duplicate does not hold one.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

pub(super) struct Connections {
    /// The application's pool.
    pool: PgPool,
    /// The store's own connections, to the same database. A shared connection may have an open transaction whose
    /// `begin` was abandoned: what is written there is committed at an unknown time, or never.
    own: CheckedOut,
    route: OnceCell<Route>,
}

/// Which failures allow a statement to be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Retry {
    /// Every temporary one: the statement recognises its own effect.
    Always,
    /// Only those after which it is certain that nothing was done.
    IfNotApplied,
}

/// What has become of a statement before it is sent, which another one has already tried to do for several keys.
pub(super) struct Attempt {
    deadline: Instant,
    /// Whether it may have been sent.
    was_sent: bool,
    /// Why it is not known what became of it.
    lost: Option<sqlx::Error>,
}

/// Why a statement for several keys has no rows.
#[derive(Debug)]
pub(super) enum Apart {
    /// The server has undone it.
    Undone,
    /// The same, because another session has locked a row.
    Locked,
    /// Its connection was lost for this reason. What was sent may have been done.
    Lost(String),
    /// The statements for single keys would fail too.
    Failed(StoreError),
}

/// How long a statement may take, from waiting for a connection to the last row. It ends before the engine gives up, so
/// that the connection can still be cleaned up.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// How much of that may be spent on waiting for a connection. The pool keeps trying while the server refuses
/// connections.
const ACQUIRE: Duration = Duration::from_secs(2);

/// How long the server waits for a lock, so that none of its processes keeps waiting for a client that has given up. It
/// ends before [`STATEMENT_TIMEOUT`]. The statements in [`SET_UP`] and [`BEGIN_LIMITED`] contain it too.
const LOCK_TIMEOUT: Duration = Duration::from_secs(3);

/// How many statements of a lane are under way at most: while one waits for its commit, the server works on the other. With one, few
/// clients wait much longer where commits are slow; a third gains nothing.
pub(super) const TURNS: usize = 2;

/// How long a server has to be silent for before its other connections are suspected too.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// The pause between a failure and the next try.
const PAUSE: Duration = Duration::from_millis(10);

/// The same if the server accepts no writes: each try is a new connection, until one leads to the new primary.
const READ_ONLY_PAUSE: Duration = Duration::from_millis(250);

impl Connections {
    /// Connections with the pool's settings, and at most as many.
    pub(super) fn beside(pool: PgPool) -> Self {
        // Statements can be sent again, so none has to ping first.
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

    /// How the server is reached, if that is known.
    pub(super) fn known_route(&self) -> Option<Route> {
        self.route.get().copied()
    }

    /// How the server is reached. It is determined once.
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
        self.run_on(Attempt::first(), retry, statement).await
    }

    /// Like [`run`](Self::run), after an attempt to do the same.
    pub(super) async fn run_on<'q>(
        &self,
        attempt: Attempt,
        retry: Retry,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, StoreError> {
        self.run_in_time(attempt, retry, statement)
            .await?
            .map_err(store_error)
    }

    /// Like [`run_on`](Self::run_on), for a statement that does not wait long for its row: `None` if another session has
    /// locked it, in which case nothing was done.
    pub(super) async fn run_unless_locked<'q>(
        &self,
        attempt: Attempt,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<Vec<PgRow>>, StoreError> {
        let asked = Instant::now();
        let sent = self.run_in_time(attempt, Retry::Always, statement);
        match sent.await? {
            Ok(rows) => Ok(Some(rows)),
            // The error does not say what is locked. A lock on the whole table is waited for longer, and says nothing
            // about the key.
            Err(error)
                if Failure::of(&error) == Failure::Locked && asked.elapsed() < LOCK_TIMEOUT =>
            {
                Ok(None)
            }
            Err(error) => Err(store_error(error)),
        }
    }

    /// Sends a statement for several keys, once.
    pub(super) async fn run_together(
        &self,
        statement: Statement<'_>,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, Apart> {
        let asked = Instant::now();
        let sent = self.run_once(statement, deadline).await;
        let error = match sent.map_err(Apart::Failed)? {
            Ok(rows) => return Ok(rows),
            Err(error) => error,
        };
        tracing::debug!(
            error = %Causes(&error),
            "a statement for several keys failed in PostgreSQL; each of them goes alone"
        );
        Err(match Failure::of(&error) {
            Failure::Undone | Failure::ReadOnly => Apart::Undone,
            Failure::Lasting if is_undone(&error) => Apart::Undone,
            // Other lasting errors may come from a proxy that has lost the server in the middle of the commit.
            Failure::ConnectionLost | Failure::Lasting => Apart::Lost(error.to_string()),
            // The whole table is locked.
            Failure::Locked if asked.elapsed() >= LOCK_TIMEOUT => Apart::Failed(store_error(error)),
            Failure::Locked => Apart::Locked,
        })
    }

    /// The outer error is about the time limit, or about getting a connection.
    async fn run_in_time<'q>(
        &self,
        attempt: Attempt,
        retry: Retry,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Result<Vec<PgRow>, sqlx::Error>, StoreError> {
        let Attempt {
            deadline,
            mut was_sent,
            mut lost,
        } = attempt;
        loop {
            let sent = self.run_once(statement(), deadline).await;
            let error = match sent.map_err(|error| error.was_sent_if(was_sent))? {
                Ok(rows) => return Ok(Ok(rows)),
                Err(error) => error,
            };
            was_sent = true;
            let failure = Failure::of(&error);
            if failure == Failure::Locked
                && let Some(lost) = lost
            {
                // The lock may belong to this very statement, sent before, whose server process is still running.
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
                "sending a statement to PostgreSQL again"
            );
            if failure == Failure::ConnectionLost {
                lost = Some(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The outer error is about the time limit, or about getting a connection.
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
            })
            .map_err(|error| error.with_store(NAME))?;
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
                // A late response must not be taken for the response to the next statement. The server is silent only to
                // those that gave it time: what goes alone after others may have little left.
                if sent.elapsed() >= SILENT_AFTER {
                    used.close_silent(sent);
                } else {
                    used.close();
                }
                Err(silence())
            }
        }
    }

    async fn execute(
        &self,
        used: &mut Used<'_>,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        // While this is unknown, the mode that always works is used.
        let route = match self.route.get() {
            Some(route) => *route,
            None => self.find_route(used).await.unwrap_or(Route::Pooled),
        };
        match route {
            Route::Direct => statement.fetch_all(used.set_up(SET_UP).await?).await,
            // The next client's unnamed statement replaces this one, so the transaction has to keep the server process
            // until the statement is executed.
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

impl lane::Attempt for Attempt {
    type Apart = Apart;

    fn first() -> Self {
        Self {
            deadline: Instant::now() + STATEMENT_TIMEOUT,
            was_sent: false,
            lost: None,
        }
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn together(mut self, apart: Apart) -> Result<Self, StoreError> {
        self.was_sent = true;
        match apart {
            Apart::Undone | Apart::Locked => {}
            Apart::Lost(reason) => {
                self.lost = Some(sqlx::Error::Protocol(reason));
            }
            Apart::Failed(error) => return Err(error),
        }
        Ok(self)
    }

    fn silence() -> StoreError {
        silence()
    }
}

impl lane::Apart for Apart {
    fn undone() -> Self {
        Self::Undone
    }

    fn lost(reason: String) -> Self {
        Self::Lost(reason)
    }

    fn for_one(&self) -> Self {
        match self {
            Self::Undone => Self::Undone,
            Self::Locked => Self::Locked,
            Self::Lost(reason) => Self::Lost(reason.clone()),
            Self::Failed(error) => Self::Failed(error.repeated()),
        }
    }
}

/// The server has not responded in time.
fn silence() -> StoreError {
    StoreError::unavailable(within("no response", STATEMENT_TIMEOUT)).with_store(NAME)
}

fn within(what: &str, time: Duration) -> String {
    format!("{what} within {} seconds", time.as_secs())
}
