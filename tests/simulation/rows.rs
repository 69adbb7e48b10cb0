//! A database that has the keys beside the application's rows, and changes either or both in one step.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    __database1::{NewOutcome, PendingRecord},
    Clock, Fingerprint, OnLost, Store,
    store::{
        Change, Claim, ClaimRequest, Entry, Hold, IfOwner, ListRequest, Listed, Polling, Record,
        RecordId, Resolution, StoreError, Subscription, Token, Transition, Wakeups,
    },
};
use tokio::task::yield_now;

/// The tables, which survive every process that uses them.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    pub(crate) clock: Clock,
    /// Whether others go on while a call is on its way there, and on its way back.
    is_slow: bool,
    wakeups: Wakeups,
    /// Under std's lock, at which no task is interrupted. Nobody is woken under it.
    tables: Mutex<Tables<R>>,
}

#[derive(Debug)]
struct Tables<R> {
    keys: HashMap<RecordId, Key>,
    rows: Vec<R>,
}

/// A key's row, and how often it was changed.
#[derive(Clone, Debug, Default)]
struct Key {
    entry: Entry,
    version: u64,
}

/// A commit as it is sent: the row of the application, and the key's, under the condition that the latter is still as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Write<R> {
    pub(crate) row: R,
    pub(crate) entry: PendingRecord,
    pub(crate) outcome: NewOutcome,
    version: u64,
}

impl<R: Clone> Rows<R> {
    pub(crate) fn new(clock: Clock, is_slow: bool) -> Self {
        Self {
            clock,
            is_slow,
            wakeups: Wakeups::default(),
            tables: Mutex::new(Tables {
                keys: HashMap::new(),
                rows: Vec::new(),
            }),
        }
    }

    /// All that was committed.
    pub(crate) fn rows(&self) -> Vec<R> {
        self.tables().rows.clone()
    }

    /// A call, and its ways.
    pub(crate) async fn call<T>(&self, call: impl FnOnce(&Self) -> T) -> T {
        self.travel().await;
        let reply = call(self);
        self.travel().await;
        reply
    }

    async fn travel(&self) {
        if self.is_slow {
            yield_now().await;
        }
    }

    /// Changes a key's row.
    async fn step<T>(
        &self,
        id: &RecordId,
        step: impl FnOnce(&mut Entry, SystemTime) -> Transition<T>,
    ) -> T {
        self.call(|rows| rows.step_now(id, step)).await
    }

    fn step_now<T>(
        &self,
        id: &RecordId,
        step: impl FnOnce(&mut Entry, SystemTime) -> Transition<T>,
    ) -> T {
        let now = self.clock.now();
        let Transition { reply, change, .. } = {
            let mut tables = self.tables();
            let key = tables.keys.entry(*id).or_default();
            let done = step(&mut key.entry, now);
            key.version += u64::from(done.change != Change::Unchanged);
            done
        };
        if change == Change::Ended {
            self.wakeups.wake(id);
        }
        reply
    }

    /// What is sent to commit this; nothing if another run has the key.
    pub(crate) fn prepare(
        &self,
        row: R,
        entry: &PendingRecord,
        outcome: NewOutcome,
    ) -> Option<Write<R>> {
        let mut write = Write {
            row,
            entry: entry.clone(),
            outcome,
            version: 0,
        };
        let key = self.tables().keys.get(&entry.hold.id).cloned();
        let key = key.unwrap_or_default();
        write.version = key.version;
        write.end(key.entry, self.clock.now()).map(|_| write)
    }

    /// Commits row and key, or neither. Returns when the record expires; nothing if the key is no longer as it was read.
    pub(crate) fn commit(&self, write: &Write<R>) -> Option<SystemTime> {
        let (id, now) = (write.entry.hold.id, self.clock.now());
        let expires_at = {
            let mut tables = self.tables();
            let key = tables.keys.entry(id).or_default();
            if key.version != write.version {
                return None;
            }
            let (entry, expires_at) = write.end(key.entry.clone(), now)?;
            key.entry = entry;
            key.version += 1;
            tables.rows.push(write.row.clone());
            expires_at
        };
        self.wakeups.wake(&id);
        Some(expires_at)
    }

    fn records(&self) -> Vec<Record> {
        let (tables, now) = (self.tables(), self.clock.now());
        let records = tables.keys.iter();
        let records = records.filter_map(|(id, key)| key.entry.inspect(id, now));
        records.collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables<R>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Write<R> {
    /// The key's row after the commit, if its run may end there.
    fn end(&self, mut key: Entry, now: SystemTime) -> Option<(Entry, SystemTime)> {
        let PendingRecord {
            hold,
            fingerprint,
            is_held,
            ..
        } = &self.entry;
        if !is_held {
            let request = ClaimRequest::new(hold, fingerprint, OnLost::Refuse);
            let claimed = key.claim(request, now);
            let is_free = matches!(claimed.reply, Ok(Claim::Won { attempt: 1, .. }))
                && claimed.change == Change::Changed;
            if !is_free {
                return None;
            }
        }
        let hold = hold.clone().with_ttl(self.outcome.ttl.unwrap_or(hold.ttl));
        match key.complete(&hold, self.outcome.bytes.clone(), now).reply {
            IfOwner::Done(expires_at) => Some((key, expires_at)),
            _ => None,
        }
    }
}

type Done<T> = Result<IfOwner<T>, StoreError>;

#[async_trait]
impl<R: Clone + fmt::Debug + Send + Sync + 'static> Store for Rows<R> {
    fn name(&self) -> &'static str {
        "database"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let id = &request.hold.id;
        self.step(id, |key, now| key.claim(request, now)).await
    }

    async fn withdraw(&self, hold: &Hold, _: &Fingerprint) -> Result<(), StoreError> {
        self.step(&hold.id, |key, now| key.withdraw(hold, now))
            .await;
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Done<()> {
        Ok(self.step(&hold.id, |key, now| key.renew(hold, now)).await)
    }

    async fn checkpoint(&self, hold: &Hold, steps: Bytes) -> Done<()> {
        let keep = |key: &mut Entry, now| key.checkpoint(hold, steps, now);
        Ok(self.step(&hold.id, keep).await)
    }

    async fn suspend(&self, hold: &Hold, steps: Bytes) -> Done<()> {
        let keep = |key: &mut Entry, now| key.suspend(hold, steps, now);
        Ok(self.step(&hold.id, keep).await)
    }

    async fn complete(&self, hold: &Hold, outcome: Bytes) -> Done<SystemTime> {
        let end = |key: &mut Entry, now| key.complete(hold, outcome, now);
        Ok(self.step(&hold.id, end).await)
    }

    async fn release(&self, hold: &Hold) -> Done<()> {
        Ok(self.step(&hold.id, |key, now| key.release(hold, now)).await)
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let records = self.call(Self::records).await;
        Ok(records.into_iter().find(|record| record.id == *id))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let records = self.call(Self::records).await;
        Ok(request.select(records, self.clock.now()))
    }

    async fn resolve(&self, id: &RecordId, seen: &Token, how: Resolution) -> Done<()> {
        let fresh = Token::random();
        let resolve = |key: &mut Entry, now| key.resolve(seen, how, fresh, now);
        Ok(self.step(id, resolve).await)
    }

    /// Expired rows stay.
    async fn purge_expired(&self, _: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        let polling = Polling::every(Duration::from_secs(1));
        self.wakeups.subscribe(id, polling)
    }

    fn outcome_limit(&self) -> usize {
        usize::MAX
    }
}
