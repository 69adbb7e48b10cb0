//! The transactions of tokio-postgres, and of pools over it.

use std::borrow::Cow;

use tokio_postgres::{
    Error, Transaction,
    error::DbError,
    types::{ToSql, Type},
};

use super::{PostgresStatement, PostgresTransaction, PostgresValue};

/// A nested transaction has the same type, so the depth is not known.
impl PostgresTransaction for Transaction<'_> {
    type Error = Error;

    /// Prepares no named statement, which would fail behind a pooler, and still takes one round trip.
    async fn fetch_text(&mut self, statement: &PostgresStatement<'_>) -> Result<String, Error> {
        let values = statement.values.iter().map(|value| match value {
            PostgresValue::Bytes(value) => (value as &(dyn ToSql + Sync), Type::BYTEA),
            PostgresValue::Integer(value) => (value as _, Type::INT8),
            PostgresValue::Boolean(value) => (value as _, Type::BOOL),
            PostgresValue::Text(value) => (value as _, Type::TEXT),
        });
        let values: Vec<_> = values.collect();
        let row = self.query_typed_one(statement.text, &values).await?;
        row.try_get(0)
    }

    async fn execute_statements(&mut self, statements: &'static str) -> Result<(), Error> {
        self.batch_execute(statements).await
    }

    async fn commit(self) -> Result<(), Error> {
        Transaction::commit(self).await
    }

    async fn rollback(self) -> Result<(), Error> {
        Transaction::rollback(self).await
    }

    fn sql_state(error: &Error) -> Option<Cow<'_, str>> {
        let state = error.as_db_error().map(DbError::code)?;
        Some(state.code().into())
    }
}
