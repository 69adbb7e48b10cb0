//! Work on its way to a thread of the database, and its result on the way back.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{SqliteStoreError, guard::Lost};

/// The threads' view of a [`Call`].
pub(super) trait Job: Send {
    /// Does the work and keeps the result. An error means that its statements must be undone.
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteStoreError>;

    /// Sends the result to the caller, or the error that the transaction around it was lost.
    fn answer(self: Box<Self>, lost: Option<&Lost>);

    /// Whether the caller no longer waits for the result.
    fn is_abandoned(&self) -> bool;
}

/// The receiver of the result of a [`Call`].
pub(super) trait Caller<T>: Send {
    fn answer(self, result: Result<T, SqliteStoreError>);

    fn is_gone(&self) -> bool {
        false
    }
}

impl<T, F: FnOnce(Result<T, SqliteStoreError>) + Send> Caller<T> for F {
    fn answer(self, result: Result<T, SqliteStoreError>) {
        self(result);
    }
}

/// A caller that waits, and may have left.
pub(super) struct Waiting<T>(pub(super) oneshot::Sender<Result<T, SqliteStoreError>>);

impl<T: Send> Caller<T> for Waiting<T> {
    fn answer(self, result: Result<T, SqliteStoreError>) {
        drop(self.0.send(result));
    }

    fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// One closure of one caller.
pub(super) struct Call<W, T, A> {
    work: Option<W>,
    result: Option<Result<T, SqliteStoreError>>,
    caller: A,
}

impl<W, T, A> Call<W, T, A>
where
    W: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send,
    T: Send,
    A: Caller<T>,
{
    pub(super) fn new(work: W, caller: A) -> Self {
        Self {
            work: Some(work),
            result: None,
            caller,
        }
    }
}

impl<W, T, A> Job for Call<W, T, A>
where
    W: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send,
    T: Send,
    A: Caller<T>,
{
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteStoreError> {
        let work = self.work.take().ok_or(SqliteStoreError::Stopped)?;
        // What a panic leaves half done is in the connection, and the thread that runs the job undoes it.
        let result = match catch_unwind(AssertUnwindSafe(|| work(connection))) {
            Ok(result) => result.map_err(SqliteStoreError::from),
            Err(panic) => {
                quietly(|| drop(panic));
                Err(SqliteStoreError::Panicked)
            }
        };
        let kept = self.result.insert(result);
        kept.as_ref().map(drop).map_err(SqliteStoreError::clone)
    }

    fn answer(self: Box<Self>, lost: Option<&Lost>) {
        // If the caller has left, this thread drops the value, and the work if it was not run.
        quietly(|| {
            let Self {
                work,
                result,
                caller,
            } = *self;
            let result = match (result, lost) {
                (Some(Err(error)), _) => Err(error),
                (value, Some(lost)) => {
                    // Sent first, in case dropping the value panics.
                    caller.answer(Err(lost.to_error()));
                    drop((value, work));
                    return;
                }
                (Some(Ok(value)), None) => Ok(value),
                (None, None) => Err(SqliteStoreError::Stopped),
            };
            caller.answer(result);
        });
    }

    fn is_abandoned(&self) -> bool {
        self.caller.is_gone()
    }
}

/// Drops values of the application: a panic in a drop must not end a thread that works for all callers.
fn quietly(drop: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(drop)) {
        // The panic hook has reported it. Dropping the payload could panic again, so it is leaked.
        let _: &mut _ = Box::leak(panic);
    }
}
