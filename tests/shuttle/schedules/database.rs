//! Transactions that commit a row with the key's record, and what becomes of their commits.

use std::{
    any::Any,
    mem,
    sync::{Arc, Mutex},
};

use futures_util::future::BoxFuture;
use idempotency::{
    __database1::{CommitFailure, Committed, EncodeResponse, PendingRecord, Sealed},
    Clock, Store,
    store::{IfOwner, Transaction},
};
use tokio::spawn;

use crate::{rows::Rows, store::Speed};

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Confirmed,
    /// The server replies, and the reply is lost.
    Unconfirmed,
    /// The connection is lost while the commit is on its way, and it arrives whenever it does.
    Late,
}

/// Each row is the number of the run that has committed it.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) rows: Arc<Rows<u32>>,
    /// That of the next commit.
    fate: Arc<Mutex<Fate>>,
}

/// A transaction with one row.
pub(crate) struct Insert {
    database: Database,
    row: u32,
}

impl Database {
    pub(crate) fn new(speed: Speed) -> Self {
        let is_slow = speed == Speed::Slow;
        Self {
            rows: Arc::new(Rows::new(Clock::manual(), is_slow)),
            fate: Arc::new(Mutex::new(Fate::Confirmed)),
        }
    }

    /// Decides about the next commit.
    pub(crate) fn decide(&self, fate: Fate) {
        *self.fate.lock().expect("no panic under the lock") = fate;
    }

    pub(crate) fn insert(&self, row: u32) -> Insert {
        let database = self.clone();
        Insert { database, row }
    }

    fn fate(&self) -> Fate {
        let mut fate = self.fate.lock().expect("no panic under the lock");
        mem::replace(&mut *fate, Fate::Confirmed)
    }
}

impl Sealed for Insert {}

impl Transaction for Insert {
    type Value = u32;

    fn shares(&self, store: &dyn Store) -> bool {
        // The engine has a handle.
        let store: &dyn Any = store.wrapped().unwrap_or(store);
        store.is::<Rows<u32>>()
    }

    fn commit<'a>(
        self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<u32>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        let Self { database, row } = self;
        Box::pin(async move {
            let outcome = ending(row).await.map_err(CommitFailure::Undone)?;
            let entry = entry.expect("a record: each run has a key");
            let (rows, fate) = (&database.rows, database.fate());
            loop {
                let prepare = |rows: &Rows<_>| rows.prepare(row, &entry, outcome.clone());
                let Some(write) = rows.call(prepare).await else {
                    return Ok(IfOwner::NotOwner);
                };
                // The server commits whether or not someone waits for its reply.
                let server = Arc::clone(rows);
                let sent = spawn(async move { server.call(|rows| rows.commit(&write)).await });
                if fate == Fate::Late {
                    return Err(CommitFailure::Unknown("the connection is lost".into()));
                }
                let committed = sent.await.expect("no abort");
                if fate == Fate::Unconfirmed {
                    return Err(CommitFailure::Unknown("the reply is lost".into()));
                }
                // If the key was changed meanwhile, the next look says by whom.
                if let Some(expires_at) = committed {
                    return Ok(IfOwner::Done(Committed {
                        outcome,
                        expires_at: Some(expires_at),
                    }));
                }
            }
        })
    }
}
