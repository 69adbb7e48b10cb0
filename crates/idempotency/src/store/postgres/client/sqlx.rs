//! The transactions of sqlx: of the version that the store itself uses, and of the one before.

/// Implements [`PostgresTransaction`](super::PostgresTransaction) by this version of sqlx. Their types differ, and nothing else.
macro_rules! implement_for {
    ($sqlx:ident, $sqlx_core:ident) => {
        use std::borrow::Cow;

        use $sqlx::{
            Connection, Error, Executor, Postgres, Transaction, error::DatabaseError,
            postgres::PgTransactionManager, query_scalar, raw_sql,
        };
        use $sqlx_core::transaction::TransactionManager;

        use crate::store::postgres::client::{
            PostgresStatement, PostgresTransaction, PostgresValue,
        };

        impl PostgresTransaction for Transaction<'_, Postgres> {
            type Error = Error;

            fn depth(&mut self) -> Option<usize> {
                Some(PgTransactionManager::get_transaction_depth(self))
            }

            async fn fetch_text(
                &mut self,
                statement: &PostgresStatement<'_>,
            ) -> Result<String, Error> {
                // An application that has prepared nothing itself may have a pooler in front of the server, also if the store has
                // none.
                let is_persistent = statement.may_be_prepared && self.cached_statements_size() > 0;
                let mut query = query_scalar(statement.text).persistent(is_persistent);
                for value in &statement.values {
                    query = match *value {
                        PostgresValue::Bytes(value) => query.bind(value),
                        PostgresValue::Integer(value) => query.bind(value),
                        PostgresValue::Boolean(value) => query.bind(value),
                        PostgresValue::Text(value) => query.bind(value),
                    };
                }
                query.fetch_one(&mut **self).await
            }

            async fn execute_statements(&mut self, statements: &'static str) -> Result<(), Error> {
                let executed = Executor::execute(&mut **self, raw_sql(statements));
                executed.await.map(drop)
            }

            async fn commit(self) -> Result<(), Error> {
                Transaction::commit(self).await
            }

            async fn rollback(self) -> Result<(), Error> {
                Transaction::rollback(self).await
            }

            fn sql_state(error: &Error) -> Option<Cow<'_, str>> {
                error.as_database_error().and_then(DatabaseError::code)
            }
        }
    };
}

mod own {
    implement_for!(sqlx, sqlx_core);
}

#[cfg(feature = "sqlx-0_8")]
mod previous {
    implement_for!(sqlx_0_8, sqlx_core_0_8);
}
