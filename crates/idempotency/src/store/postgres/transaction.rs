//! The application's own transaction, and a key's record in it.

use std::{
    any::Any,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{
    PostgresStore,
    client::{PostgresStatement, PostgresTransaction, PostgresValue},
    connections::STATEMENT_TIMEOUT,
    error::is_undone_commit,
    records::microseconds,
    route::Route,
    statements,
};
use crate::store::{
    Hold, IfOwner, Store,
    transaction::{
        BeforeAlone, CommitFailure, Committed, EncodeResponse, NewOutcome, PendingRecord,
        Transaction, innermost, sealed::Sealed,
    },
};

/// A savepoint's release is not a commit: the enclosing transaction may still be rolled back.
const NESTED: &str =
    "a nested transaction cannot be committed with a response: commit the outermost one";

/// The same if the client does not tell which of the two it is.
const IN_SAVEPOINT: &str = "a nested transaction cannot be committed with a response, nor one with a savepoint open: commit the \
                            outermost one, and release its savepoints first (a nested one that was rolled back leaves one)";

/// The transaction is over, and it is not known whether it was committed.
const ENDED: &str =
    "the handler's own SQL ended the transaction: only `Execution::commit` may end it";

/// A retry would not find a record there.
const ELSEWHERE: &str = "the transaction is in another PostgreSQL database or schema than the engine's store: a transactional handler \
                         needs both to use the same tables idempotency_records and idempotency_schema";

/// Fails if no transaction is open, or if the open one can only be rolled back. The server replies to a `COMMIT` of
/// either without an error, and clients do not check the tag of its reply. The savepoint is released, so that the
/// statements that follow are not inside it.
///
/// A commit can wait for a lock too, for a deferred constraint.
const CHECK: &str = "savepoint idempotency_commit; release savepoint idempotency_commit; set local lock_timeout = '3s'";

impl<T: PostgresTransaction> Sealed for T {}

/// Two transactions that write the same key meet at its row: the second waits for the first, and then loses.
impl<T: PostgresTransaction> Transaction for T {
    type Value = ();

    /// The transaction's database is determined in the transaction, when the record is written.
    fn shares(&self, store: &dyn Store) -> bool {
        postgres(store).is_some()
    }

    fn commit<'a>(
        mut self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<()>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let outcome = encode(self.depth(), ending).await?;
            match entry {
                Some(entry) => commit(self, &entry, outcome, None).await,
                None => end_alone(self, outcome).await,
            }
        })
    }

    fn commit_or_alone<'a>(
        mut self,
        entry: PendingRecord,
        ending: EncodeResponse<()>,
        before: BeforeAlone,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let outcome = encode(self.depth(), ending).await?;
            commit(self, &entry, outcome, Some(before)).await
        })
    }
}

/// What a record's statement found in the transaction.
enum Found {
    /// The record is written, and expires then.
    Written(SystemTime),
    /// Another record exists.
    NotOwner,
    /// The table is not the store's. Nothing is written.
    Elsewhere,
}

/// The row that a record's statement returns.
struct Row {
    is_open: bool,
    is_here: bool,
    expires_at: Option<SystemTime>,
}

fn postgres(store: &dyn Store) -> Option<&PostgresStore> {
    let store: &dyn Any = innermost(store);
    store.downcast_ref()
}

/// Encodes the outcome, if the transaction may be committed.
async fn encode(
    depth: Option<usize>,
    ending: EncodeResponse<()>,
) -> Result<NewOutcome, CommitFailure> {
    match depth {
        Some(0) => Err(CommitFailure::Misused(ENDED)),
        Some(1) | None => ending(()).await.map_err(CommitFailure::Undone),
        Some(_) => Err(CommitFailure::Misused(NESTED)),
    }
}

async fn commit<T: PostgresTransaction>(
    mut transaction: T,
    entry: &PendingRecord,
    outcome: NewOutcome,
    alone: Option<BeforeAlone>,
) -> Result<IfOwner<Committed>, CommitFailure> {
    let Some(store) = postgres(entry.store.as_ref()) else {
        return Err(CommitFailure::Undone(
            "the store is not a PostgreSQL store".into(),
        ));
    };
    let identity = store.0.identity.get(&store.0.connections).await;
    let identity = identity.map_err(|error| CommitFailure::Undone(error.into()))?;
    let mut record = Pending {
        store,
        entry,
        hold: outcome.hold(&entry.hold),
        outcome: &outcome.bytes,
        identity,
        is_needed: alone.is_none(),
    };
    let found = in_time(record.write(&mut transaction)).await?;
    match (found, alone) {
        (Found::Written(expires_at), _) => {
            store.0.identity.note_beside();
            end(transaction).await?;
            store.0.wakeups.wake(&entry.hold.id);
            Ok(IfOwner::Done(Committed {
                outcome,
                expires_at: Some(expires_at),
            }))
        }
        (Found::NotOwner, _) => {
            roll_back(transaction).await;
            Ok(IfOwner::NotOwner)
        }
        (Found::Elsewhere, None) => {
            roll_back(transaction).await;
            Err(CommitFailure::Misused(ELSEWHERE))
        }
        (Found::Elsewhere, Some(before)) => {
            store.0.identity.note_elsewhere();
            match before.await? {
                IfOwner::Done(()) => end_alone(transaction, outcome).await,
                IfOwner::NotOwner => {
                    roll_back(transaction).await;
                    Ok(IfOwner::NotOwner)
                }
            }
        }
    }
}

/// A record to be written in a transaction.
struct Pending<'a> {
    store: &'a PostgresStore,
    entry: &'a PendingRecord,
    hold: Hold,
    outcome: &'a [u8],
    identity: String,
    /// Whether nothing may be committed without it.
    is_needed: bool,
}

impl Pending<'_> {
    /// Writes the record, or finds that it must not be written.
    async fn write<T: PostgresTransaction>(
        &mut self,
        transaction: &mut T,
    ) -> Result<Found, CommitFailure> {
        // A statement on missing tables would abort the transaction.
        if !self.is_needed
            && !self.store.0.identity.is_beside()
            && fetch(transaction, statements::ARE_THERE).await? != "true"
        {
            return Ok(Found::Elsewhere);
        }
        let mut row = self.send(transaction, false).await?;
        if !row.is_here && self.has_moved().await? {
            row = self.send(transaction, false).await?;
        }
        if row.is_here && !row.is_open {
            check(transaction).await?;
            row = self.send(transaction, true).await?;
        }
        if !row.is_here {
            return Ok(Found::Elsewhere);
        }
        Ok(match row.expires_at {
            Some(expires_at) => Found::Written(expires_at),
            None => Found::NotOwner,
        })
    }

    /// Whether the identity of the store's own table has changed, for example because its database was restored.
    async fn has_moved(&mut self) -> Result<bool, CommitFailure> {
        let shared = &self.store.0;
        let read = shared.identity.read(&shared.connections).await;
        let read = read.map_err(|error| CommitFailure::Undone(error.into()))?;
        let has_moved = read != self.identity;
        self.identity = read;
        Ok(has_moved)
    }

    async fn send<T: PostgresTransaction>(
        &self,
        transaction: &mut T,
        is_open: bool,
    ) -> Result<Row, CommitFailure> {
        let (entry, hold) = (self.entry, &self.hold);
        let mut values = vec![
            PostgresValue::Bytes(hold.id.as_bytes()),
            PostgresValue::Bytes(hold.token.as_bytes()),
            PostgresValue::Integer(microseconds(hold.ttl)),
            PostgresValue::Bytes(self.outcome),
        ];
        if !entry.is_held {
            values.push(PostgresValue::Bytes(entry.fingerprint.as_bytes()));
        }
        values.extend([
            PostgresValue::Boolean(is_open),
            PostgresValue::Text(Some(&self.identity)),
            PostgresValue::Boolean(transaction.depth().is_none()),
        ]);
        if !entry.is_held {
            values.extend([
                PostgresValue::Text(hold.labels.route()),
                PostgresValue::Text(hold.labels.label()),
            ]);
        }
        let statement = PostgresStatement {
            text: if entry.is_held {
                statements::COMPLETE_WITHIN
            } else {
                statements::LEAVE
            },
            values,
            // The transaction has a server process to itself, but a prepared statement would outlive it there.
            may_be_prepared: self.store.0.connections.known_route() == Some(Route::Direct),
        };
        let sent = transaction.fetch_text(&statement).await;
        let row = sent.map_err(|error| match state_of::<T>(&error).as_str() {
            // The table is missing or has another version, while the store's own is as expected.
            "42P01" | "42703" => self.tableless(),
            // The role may not write to the tables.
            "42501" if !self.is_needed => self.tableless(),
            _ => refused::<T>(error),
        })?;
        Row::read(&row)
    }

    fn tableless(&self) -> CommitFailure {
        if self.is_needed {
            CommitFailure::Misused(ELSEWHERE)
        } else {
            // The next ones are asked first.
            self.store.0.identity.note_elsewhere();
            CommitFailure::Undone(
                "the transaction's database has no idempotency tables that its role may write"
                    .into(),
            )
        }
    }
}

impl Row {
    fn read(text: &str) -> Result<Self, CommitFailure> {
        let mut words = text.split(' ');
        let (is_open, is_here) = (words.next() == Some("t"), words.next() == Some("t"));
        let expires_at = match words.next().map(str::parse) {
            None => None,
            Some(Ok(microseconds)) => UNIX_EPOCH.checked_add(Duration::from_micros(microseconds)),
            Some(Err(error)) => return Err(CommitFailure::Undone(error.into())),
        };
        Ok(Self {
            is_open,
            is_here,
            expires_at,
        })
    }
}

/// Commits without a record, whose statement would have shown whether there is something to commit.
async fn end_alone<T: PostgresTransaction>(
    mut transaction: T,
    outcome: NewOutcome,
) -> Result<IfOwner<Committed>, CommitFailure> {
    let checked = async {
        check(&mut transaction).await?;
        if transaction.depth().is_none() {
            fetch(&mut transaction, statements::IS_OUTERMOST).await?;
        }
        Ok(())
    };
    in_time(checked).await?;
    end(transaction).await?;
    Ok(IfOwner::Done(Committed {
        outcome,
        expires_at: None,
    }))
}

/// Checks that the transaction is open on the server and can be committed.
async fn check<T: PostgresTransaction>(transaction: &mut T) -> Result<(), CommitFailure> {
    let checked = transaction.execute_statements(CHECK).await;
    checked.map_err(|error| match state_of::<T>(&error).as_str() {
        "25P01" => CommitFailure::Misused(ENDED),
        _ => refused::<T>(error),
    })
}

async fn fetch<T: PostgresTransaction>(
    transaction: &mut T,
    text: &'static str,
) -> Result<String, CommitFailure> {
    let statement = PostgresStatement {
        text,
        values: Vec::new(),
        may_be_prepared: false,
    };
    let fetched = transaction.fetch_text(&statement).await;
    fetched.map_err(refused::<T>)
}

async fn end<T: PostgresTransaction>(transaction: T) -> Result<(), CommitFailure> {
    let ended = timeout(STATEMENT_TIMEOUT, PostgresTransaction::commit(transaction)).await;
    let ended = ended.map_err(|error| CommitFailure::Unknown(error.into()))?;
    // If the server refused the commit, it undid all of it; if it did not respond, it may have committed.
    ended.map_err(|error| {
        if T::sql_state(&error).is_some_and(|state| is_undone_commit(&state)) {
            CommitFailure::Undone(error.into())
        } else {
            CommitFailure::Unknown(error.into())
        }
    })
}

/// Another response counts, or this one is a mistake, so it does not matter whether this arrives.
async fn roll_back<T: PostgresTransaction>(transaction: T) {
    drop(timeout(STATEMENT_TIMEOUT, transaction.rollback()).await);
}

/// A server that does not respond must not hold the client forever; without the commit, everything is undone.
async fn in_time<R>(
    sent: impl Future<Output = Result<R, CommitFailure>>,
) -> Result<R, CommitFailure> {
    timeout(STATEMENT_TIMEOUT, sent)
        .await
        .unwrap_or_else(|error| Err(CommitFailure::Undone(error.into())))
}

/// The server undoes everything that has not been committed.
fn refused<T: PostgresTransaction>(error: T::Error) -> CommitFailure {
    match state_of::<T>(&error).as_str() {
        // A savepoint does not allow this.
        "25001" => CommitFailure::Misused(IN_SAVEPOINT),
        _ => CommitFailure::Undone(error.into()),
    }
}

/// Empty if the server did not respond.
fn state_of<T: PostgresTransaction>(error: &T::Error) -> String {
    T::sql_state(error).unwrap_or_default().into_owned()
}
