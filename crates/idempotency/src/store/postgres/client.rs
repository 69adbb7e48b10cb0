//! What a PostgreSQL client must provide so that its transactions can carry a key's record.

mod sqlx;
#[cfg(feature = "tokio-postgres")]
mod tokio_postgres;

use std::{borrow::Cow, error::Error, fmt};

/// An open transaction of a PostgreSQL client, for [`Execution::commit`](crate::Execution::commit).
///
/// `sqlx::Transaction` of sqlx 0.9 implements it, and so do the transactions of sqlx 0.8 and tokio-postgres with the
/// features `sqlx-0_8` and `tokio-postgres`. For another client the application implements it, in about thirty lines,
/// for a type of its own that wraps the client's transaction.
///
/// An implementation only passes on what it receives. This library decides what is safe to commit and what a failure
/// means, and asks the server where it can. The implementation must guarantee two things:
///
/// - Each statement runs in the transaction that [`commit`](Self::commit) ends, and on the same connection.
/// - A dropped transaction is rolled back, even while a statement is in flight: by the client, or because its
///   connection is closed. The library drops it if the server does not respond in time.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction that can be committed with a key",
    label = "not a transaction that can be committed with a key",
    note = "pass a `sqlx::Transaction<'_, Postgres>`, `SqliteDatabase::transaction(…)` or `FirestoreDatabase::transaction()`",
    note = "for another client of PostgreSQL, implement `idempotency::store::PostgresTransaction`"
)]
pub trait PostgresTransaction: Sized + Send {
    /// The client's error type.
    type Error: Error + Send + Sync + 'static;

    /// How many transactions are nested, as the client counts them: 1 for one that is not nested. `None` if the client
    /// does not know; then this library asks the server, and refuses if a savepoint is open.
    fn depth(&mut self) -> Option<usize> {
        None
    }

    /// Executes a statement and returns the text in the only column of its only row. The column is called `result` and
    /// is never null.
    fn fetch_text(
        &mut self,
        statement: &PostgresStatement<'_>,
    ) -> impl Future<Output = Result<String, Self::Error>> + Send;

    /// Executes statements without values or rows. There may be several, separated by semicolons, so the client has to
    /// send them as a simple query.
    fn execute_statements(
        &mut self,
        statements: &'static str,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Commits the transaction.
    fn commit(self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Rolls the transaction back.
    fn rollback(self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The five-character code by which the server names an error (SQLSTATE), if this error is the server's own
    /// response. `None` is always safe: a commit that fails then counts as one with an unknown result, until the key's
    /// record shows it.
    fn sql_state(error: &Self::Error) -> Option<Cow<'_, str>> {
        let _ = error;
        None
    }
}

/// A statement with its values. The values do not belong in a log: they are a response and the identity of its key.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresStatement<'a> {
    /// The statement, with `$1`, `$2`, … in place of the values.
    pub text: &'static str,
    /// The values, `$1` first.
    pub values: Vec<PostgresValue<'a>>,
    /// Whether the server may keep it prepared under a name. False behind a transaction-pooling proxy, and until it is
    /// known whether there is one.
    pub may_be_prepared: bool,
}

/// A value of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PostgresValue<'a> {
    /// A value of the type `bytea`.
    Bytes(&'a [u8]),
    /// A value of the type `bigint`.
    Integer(i64),
    /// A value of the type `boolean`.
    Boolean(bool),
    /// A value of the type `text`.
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

/// Prints only the type.
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
