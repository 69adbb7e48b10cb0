//! Work on its way to a thread of the database, and its answer on the way back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use rusqlite::Connection;

use super::{SqliteError, guard::Lost};

/// What the threads see of a [`Call`].
pub(super) trait Job: Send {
    /// Does the work and keeps the result. An error means that its statements must not stay.
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError>;

    /// Hands the result to the caller, or in its place that the transaction around it was lost.
    fn answer(self: Box<Self>, lost: Option<&Lost>);
}

/// One closure of one caller.
pub(super) struct Call<W, T, A> {
    work: Option<W>,
    result: Option<Result<T, SqliteError>>,
    answer: A,
}

impl<W, T, A> Call<W, T, A>
where
    W: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send,
    T: Send,
    A: FnOnce(Result<T, SqliteError>) + Send,
{
    pub(super) fn new(work: W, answer: A) -> Self {
        Self {
            work: Some(work),
            result: None,
            answer,
        }
    }
}

impl<W, T, A> Job for Call<W, T, A>
where
    W: FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send,
    T: Send,
    A: FnOnce(Result<T, SqliteError>) + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError> {
        let work = self.work.take().ok_or(SqliteError::Stopped)?;
        // What a panic may leave half done is in the connection, and whoever runs the job undoes that.
        let result = match catch_unwind(AssertUnwindSafe(|| work(connection))) {
            Ok(result) => result.map_err(SqliteError::from),
            Err(_) => Err(SqliteError::Panicked),
        };
        let kept = self.result.insert(result);
        kept.as_ref().map(drop).map_err(SqliteError::clone)
    }

    fn answer(self: Box<Self>, lost: Option<&Lost>) {
        let result = match (self.result, lost) {
            (Some(Err(error)), _) => Err(error),
            (_, Some(Lost::Undone(cause))) => Err(SqliteError::RolledBack(Arc::clone(cause))),
            (_, Some(Lost::Unknown(cause))) => Err(SqliteError::Commit(Arc::clone(cause))),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(SqliteError::Stopped),
        };
        (self.answer)(result);
    }
}
