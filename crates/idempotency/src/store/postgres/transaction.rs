//! The application's own transaction, and a key's record in it.

use std::any::Any;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sqlx::{Postgres, postgres::PgRow, query};
use tokio::time::timeout;

use super::{
    PostgresStore,
    connections::PATIENCE,
    error::Failure,
    records::{self, microseconds},
    route::Route,
};
use crate::store::{
    Fenced, Store,
    transaction::{CommitFailure, Committed, Ending, Entry, Transaction, sealed::Sealed},
};

impl Sealed for sqlx::Transaction<'_, Postgres> {}

/// Two transactions that write the same key meet at its row: the second waits for the first, and then loses.
impl Transaction for sqlx::Transaction<'_, Postgres> {
    type Value = ();

    fn shares(&self, store: &dyn Store) -> bool {
        let store: &dyn Any = store;
        store
            .downcast_ref::<PostgresStore>()
            .is_some_and(|store| store.0.is_shared)
    }

    fn commit<'a>(
        self,
        entry: Option<Entry>,
        ending: Ending<()>,
    ) -> BoxFuture<'a, Result<Fenced<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let outcome = ending(()).await.map_err(CommitFailure::Undone)?;
            match entry {
                Some(entry) => commit(self, &entry, outcome).await,
                None => {
                    end(self).await?;
                    Ok(Fenced::Done(Committed {
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
    entry: &Entry,
    outcome: Bytes,
) -> Result<Fenced<Committed>, CommitFailure> {
    let store: &dyn Any = entry.store.as_ref();
    let Some(store) = store.downcast_ref::<PostgresStore>() else {
        return Err(CommitFailure::Undone(
            "the store is not of PostgreSQL".into(),
        ));
    };
    // A server that says nothing must not hold the client for ever; without the end, all of it is undone.
    let left = timeout(PATIENCE, leave(&mut transaction, store, entry, &outcome)).await;
    let rows = left.map_err(|error| CommitFailure::Undone(error.into()))?;
    let expires_at = match rows.map_err(undone)?.first() {
        Some(row) => records::time(row, 0).map_err(undone)?,
        None => {
            // The answer that counts is committed, so whether this arrives matters to nobody.
            drop(timeout(PATIENCE, transaction.rollback()).await);
            return Ok(Fenced::Lost);
        }
    };
    end(transaction).await?;
    store.0.wakeups.wake(&entry.hold.id);
    Ok(Fenced::Done(Committed {
        outcome,
        expires_at: Some(expires_at),
    }))
}

/// Writes the record; no row if somebody else's stands.
async fn leave(
    transaction: &mut sqlx::Transaction<'_, Postgres>,
    store: &PostgresStore,
    entry: &Entry,
    outcome: &Bytes,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let hold = &entry.hold;
    let statement = match entry.is_held {
        true => query(records::COMPLETE)
            .bind(hold.id.as_bytes())
            .bind(hold.token.as_bytes())
            .bind(microseconds(hold.ttl))
            .bind(outcome.as_ref()),
        false => query(records::LEAVE)
            .bind(hold.id.as_bytes())
            .bind(hold.token.as_bytes())
            .bind(microseconds(hold.ttl))
            .bind(outcome.as_ref())
            .bind(entry.fingerprint.as_bytes()),
    };
    // The transaction has a process of the server to itself, but what is prepared there would outlive it.
    let is_direct = store.0.connections.known_route() == Some(Route::Direct);
    let rows = statement.persistent(is_direct);
    rows.fetch_all(&mut **transaction).await
}

async fn end(transaction: sqlx::Transaction<'_, Postgres>) -> Result<(), CommitFailure> {
    let ended = timeout(PATIENCE, sqlx::Transaction::commit(transaction)).await;
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
