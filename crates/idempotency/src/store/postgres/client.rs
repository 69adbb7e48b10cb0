//! What a client of PostgreSQL has to do for a transaction that carries a key's record.

#[cfg(feature = "sqlx-0_8")]
mod sqlx_0_8;
mod sqlx_0_9;
#[cfg(feature = "tokio-postgres")]
mod tokio_postgres;

use std::{borrow::Cow, error::Error, fmt};

/// An open transaction of a PostgreSQL client, for [`Execution::commit`](crate::Execution::commit).
///
/// `sqlx::Transaction` of sqlx 0.9 implements it, and behind the features `sqlx-0_8` and `tokio-postgres` so do the transactions of
/// those. For another client the application writes it, in about thirty lines, for a type of its own around the client's
/// transaction.
///
/// An implementation only passes on what it gets. What is safe to commit, and what a failure means, is decided by this library,
/// which asks the server wherever it can. Two things are up to the implementation:
///
/// - Each statement runs in the transaction that [`commit`](Self::commit) ends, and on the same connection.
/// - A transaction that is dropped is rolled back, also while a statement is on its way: by the client, or because its
///   connection is closed. The library drops it when the server does not respond in time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no transaction that can be committed with a key",
    label = "not a transaction that can be committed with a key",
    note = "pass a `sqlx::Transaction<'_, Postgres>`, `SqliteDatabase::transaction(…)` or `FirestoreDatabase::transaction()`",
    note = "for another client of PostgreSQL, implement `idempotency::PostgresTransaction`"
)]
pub trait PostgresTransaction: Sized + Send {
    /// What the client fails with.
    type Error: Error + Send + Sync + 'static;

    /// How many transactions are open within each other, as the client counts them: 1 for one that is not nested. `None` if the
    /// client does not tell; then the server is asked, and refuses where a savepoint is open.
    fn depth(&mut self) -> Option<usize> {
        None
    }

    /// Executes a statement, and returns the text in the only column of its only row. The column is called `result`, and is
    /// never null.
    fn fetch_text(
        &mut self,
        statement: &PostgresStatement<'_>,
    ) -> impl Future<Output = Result<String, Self::Error>> + Send;

    /// Executes statements that have neither values nor rows. There may be several, with semicolons between them: the client
    /// has to send them as a simple query.
    fn execute_statements(
        &mut self,
        statements: &'static str,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Commits.
    fn commit(self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Rolls back.
    fn rollback(self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The five characters by which the server names an error (SQLSTATE), if this error is the server's own response. `None` is
    /// always safe: then a commit that fails counts as one whose result is not known, until the key's record tells.
    fn sql_state(error: &Self::Error) -> Option<Cow<'_, str>> {
        let _ = error;
        None
    }
}

/// A statement with its values, which no log should have: they are a response, and what its key is known by.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresStatement<'a> {
    /// The statement, with `$1`, `$2`, … for the values.
    pub text: &'static str,
    /// The values, `$1` first.
    pub values: Vec<PostgresValue<'a>>,
    /// Whether the server may keep it prepared under a name. False where a pooler between the store and its server lends out
    /// connections by the transaction, and until that is known.
    pub may_be_prepared: bool,
}

/// A value of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PostgresValue<'a> {
    /// Of the type `bytea`.
    Bytes(&'a [u8]),
    /// Of the type `bigint`.
    Integer(i64),
    /// Of the type `boolean`.
    Boolean(bool),
    /// Of the type `text`.
    Text(Option<&'a str>),
}

impl fmt::Debug for PostgresStatement<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PostgresStatement")
            .field("text", &self.text)
            .field("values", &self.values)
            .field("may_be_prepared", &self.may_be_prepared)
            .finish()
    }
}

/// Only the type.
impl fmt::Debug for PostgresValue<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Bytes(_) => "Bytes(..)",
            Self::Integer(_) => "Integer(..)",
            Self::Boolean(_) => "Boolean(..)",
            Self::Text(_) => "Text(..)",
        })
    }
}
