//! The application's own transaction, and a key's record in it.

use std::{any::Any, time::SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sqlx::{Postgres, Row, error::DatabaseError, postgres::PgTransactionManager, query, raw_sql};
use sqlx_core::transaction::TransactionManager;
use tokio::time::timeout;

use super::{
    PostgresStore,
    connections::{STATEMENT_TIMEOUT, Statement},
    error::Failure,
    records::{self, microseconds},
    route::Route,
    statements,
};
use crate::store::{
    IfOwner, Store,
    transaction::{
        CommitFailure, Committed, EncodeResponse, PendingRecord, Transaction, innermost,
        sealed::Sealed,
    },
};

impl Sealed for sqlx::Transaction<'_, Postgres> {}

/// A savepoint's release is no commit: what encloses it may be undone yet.
const NESTED: &str =
    "a nested transaction cannot be committed with a response: commit the outermost one";

/// The transaction is over, and nobody can tell whether it was committed.
const ENDED: &str = "the transaction was ended by SQL of the handler's own: only `commit` of the execution may end it";

/// Fails where no transaction is open, and where the open one can only be rolled back. The server answers a `COMMIT` of
/// either without an error, and sqlx does not look at the tag of its reply.
///
/// A commit can wait for a lock too, in a deferred constraint.
const CHECK: &str = "savepoint idempotency_commit; set local lock_timeout = '3s'";

/// Two transactions that write the same key meet at its row: the second waits for the first, and then loses.
impl Transaction for sqlx::Transaction<'_, Postgres> {
    type Value = ();

    fn shares(&self, store: &dyn Store) -> bool {
        let store: &dyn Any = innermost(store);
        store
            .downcast_ref::<PostgresStore>()
            .is_some_and(|store| store.0.is_shared)
    }

    fn commit<'a>(
        self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<()>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            match PgTransactionManager::get_transaction_depth(&self) {
                0 => return Err(CommitFailure::Misused(ENDED)),
                1 => {}
                _ => return Err(CommitFailure::Misused(NESTED)),
            }
            let outcome = ending(()).await.map_err(CommitFailure::Undone)?;
            match entry {
                Some(entry) => commit(self, &entry, outcome).await,
                None => {
                    end_alone(self).await?;
                    Ok(IfOwner::Done(Committed {
                        outcome,
                        expires_at: None,
                    }))
                }
            }
        })
    }
}

async fn commit(
    mut transaction: sqlx::Transaction<'_, Postgres>,
    entry: &PendingRecord,
    outcome: Bytes,
) -> Result<IfOwner<Committed>, CommitFailure> {
    let store: &dyn Any = innermost(entry.store.as_ref());
    let Some(store) = store.downcast_ref::<PostgresStore>() else {
        return Err(CommitFailure::Undone(
            "the store is not of PostgreSQL".into(),
        ));
    };
    // A server that says nothing must not hold the client for ever; without the end, all of it is undone.
    let left = timeout(
        STATEMENT_TIMEOUT,
        leave(&mut transaction, store, entry, &outcome),
    )
    .await;
    let left = left.map_err(|error| CommitFailure::Undone(error.into()))?;
    let Some(expires_at) = left? else {
        // The answer that counts is committed, so whether this arrives matters to nobody.
        drop(timeout(STATEMENT_TIMEOUT, transaction.rollback()).await);
        return Ok(IfOwner::NotOwner);
    };
    end(transaction).await?;
    store.0.wakeups.wake(&entry.hold.id);
    Ok(IfOwner::Done(Committed {
        outcome,
        expires_at: Some(expires_at),
    }))
}

/// Writes the record, and says until when it is kept; or finds another one there.
async fn leave(
    transaction: &mut sqlx::Transaction<'_, Postgres>,
    store: &PostgresStore,
    entry: &PendingRecord,
    outcome: &Bytes,
) -> Result<Option<SystemTime>, CommitFailure> {
    // The transaction has a process of the server to itself, but what is prepared there would outlive it.
    let is_direct = store.0.connections.known_route() == Some(Route::Direct);
    let write = |is_open| record(entry, outcome, is_open).persistent(is_direct);
    let first = write(false).fetch_one(&mut **transaction).await;
    let mut row = first.map_err(undone)?;
    if !row.try_get(0).map_err(undone)? {
        check(transaction).await?;
        let second = write(true).fetch_one(&mut **transaction).await;
        row = second.map_err(undone)?;
    }
    records::time_if_any(&row, 1).map_err(undone)
}

fn record<'q>(entry: &'q PendingRecord, outcome: &'q Bytes, is_open: bool) -> Statement<'q> {
    let hold = &entry.hold;
    let statement = match entry.is_held {
        true => query(statements::COMPLETE_WITHIN),
        false => query(statements::LEAVE),
    };
    let statement = statement
        .bind(hold.id.as_bytes())
        .bind(hold.token.as_bytes())
        .bind(microseconds(hold.ttl))
        .bind(outcome.as_ref());
    if entry.is_held {
        return statement.bind(is_open);
    }
    statement
        .bind(entry.fingerprint.as_bytes())
        .bind(is_open)
        .bind(hold.labels.route())
        .bind(hold.labels.label())
}

/// Commits without a record, whose statement would have shown whether there is something to commit.
async fn end_alone(mut transaction: sqlx::Transaction<'_, Postgres>) -> Result<(), CommitFailure> {
    let checked = timeout(STATEMENT_TIMEOUT, check(&mut transaction)).await;
    checked.map_err(|error| CommitFailure::Undone(error.into()))??;
    end(transaction).await
}

/// Looks whether the server has the transaction open, and would commit it.
async fn check(transaction: &mut sqlx::Transaction<'_, Postgres>) -> Result<(), CommitFailure> {
    let checked = raw_sql(CHECK).execute(&mut **transaction).await;
    checked.map(drop).map_err(|error| {
        let code = error.as_database_error().and_then(DatabaseError::code);
        match code.as_deref() {
            Some("25P01") => CommitFailure::Misused(ENDED),
            _ => undone(error),
        }
    })
}

async fn end(transaction: sqlx::Transaction<'_, Postgres>) -> Result<(), CommitFailure> {
    let ended = timeout(STATEMENT_TIMEOUT, sqlx::Transaction::commit(transaction)).await;
    let ended = ended.map_err(|error| CommitFailure::Unknown(error.into()))?;
    ended.map_err(uncommitted)
}

/// Before the end is asked for, the server undoes all of it.
fn undone(error: sqlx::Error) -> CommitFailure {
    CommitFailure::Undone(error.into())
}

/// Where the server has said no to the end, it has undone all of it too; where it has said nothing, it may have done it.
fn uncommitted(error: sqlx::Error) -> CommitFailure {
    match error.as_database_error().is_some() && Failure::of(&error) != Failure::ConnectionLost {
        true => CommitFailure::Undone(error.into()),
        false => CommitFailure::Unknown(error.into()),
    }
}
