mod list;
mod queue;
mod room;
mod scopes;
mod shard;
mod step;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Polling, Record, RecordId, Resolution,
    ScopeId, Store, StoreError, Subscription, Token, Verification, Wakeups, share::admit,
};
use crate::{Clock, Fingerprint};
use scopes::Scopes;
use shard::Shard;

/// A store in the memory of one process: nothing to install, and its records end with the process.
///
/// ```
/// use idempotency::{Idempotency, MemoryStore};
///
/// let idempotency = Idempotency::new(MemoryStore::new());
/// ```
///
/// Clones are handles on one store. Two processes do not see each other's keys. If several processes serve the same
/// clients, or keys must survive a restart, use another store.
///
/// # Limit
///
/// It takes a bounded number of bytes, by default one gigabyte. When they are used up it refuses new keys, which
/// clients see as 503. It never forgets a key before its time, because the key's request would run twice.
///
/// A [`Scope`](crate::Scope) may use at most eight times what is free: one scope alone gets eight ninths of the limit,
/// and each of two that flood the store gets eight seventeenths. Above that its new keys are refused, which clients see
/// as 429, while those of other scopes are accepted. A caller that invents credentials invents scopes, and only the
/// limit stops it. Each scope that has a key takes 90 more bytes, which are not counted.
#[derive(Clone)]
pub struct MemoryStore {
    shards: Arc<[Mutex<Shard>]>,
    used: Arc<AtomicUsize>,
    scopes: Arc<Scopes>,
    limit: usize,
    clock: Clock,
    wakeups: Wakeups,
}

/// Ids are digests, so their first byte spreads them evenly, and shards in order hold ids in order.
const SHARDS: usize = 256;

/// How often a waiter polls that was not woken: an owner that died wakes no waiter.
const POLLING: Polling = Polling::every(Duration::from_secs(1));

/// How many entries are removed under one lock.
const PURGED_AT_ONCE: usize = 64;

impl MemoryStore {
    /// An empty store of at most one gigabyte.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            used: Arc::default(),
            scopes: Arc::default(),
            limit: 1 << 30,
            clock: Clock::system(),
            wakeups: Wakeups::default(),
        }
    }

    /// Refuses new keys while the records, at 400 bytes and their response or progress each, take more than this. Labels do not count.
    #[must_use]
    pub fn with_limit_bytes(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Uses this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn shard(&self, id: &RecordId) -> MutexGuard<'_, Shard> {
        self.shards[usize::from(id.as_bytes()[0])].lock()
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        let used = self.used.load(Ordering::Relaxed);
        admit(scope, self.scopes.bytes(scope), used, self.limit).map(drop)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
        } = request;
        self.claimed(hold, fingerprint, on_lost)
    }

    fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        Some(self.claimed(request.hold, request.fingerprint, request.on_lost))
    }

    async fn withdraw(&self, hold: &Hold, _: &Fingerprint) -> Result<(), StoreError> {
        self.step(&hold.id, |entry, now| entry.withdraw(hold, now));
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(&hold.id, |entry, now| entry.renew(hold, now)))
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(&hold.id, |entry, now| entry.checkpoint(hold, progress, now)))
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(&hold.id, |entry, now| entry.suspend(hold, progress, now)))
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        Ok(self.step(&hold.id, |entry, now| entry.complete(hold, outcome, now)))
    }

    fn complete_now(
        &self,
        hold: &Hold,
        outcome: &Bytes,
    ) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        // A copy, because a second handle on the same bytes would take an allocation as well, and keep it for as long as the record.
        let outcome = Bytes::copy_from_slice(outcome);
        Some(Ok(self.step(&hold.id, |entry, now| {
            entry.complete(hold, outcome, now)
        })))
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(&hold.id, |entry, now| entry.release(hold, now)))
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let now = self.clock.now();
        let shard = self.shard(id);
        Ok(shard.get(id).and_then(|slot| slot.entry.inspect(id, now)))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        Ok(self.listed(request))
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let fresh = Token::random();
        Ok(self.step(id, |entry, now| entry.resolve(seen, resolution, fresh, now)))
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let mut purged = 0;
        for shard in self.shards.iter() {
            // The entries are dropped after the lock is released, because freeing memory takes longer than the rest.
            let removed = shard
                .lock()
                .take_expired(now, PURGED_AT_ONCE.min(limit - purged));
            removed.iter().for_each(|slot| self.forget(slot));
            purged += removed.len();
        }
        Ok(purged)
    }

    /// A free key that has spent tokens counts until it is swept.
    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        let shards = self.shards.iter();
        let records = shards.map(|shard| shard.lock().len() as u64).sum();
        Ok(Some(records))
    }

    async fn verify(&self) -> Verification {
        let mut verification = Verification::new();
        verification.warning(
            "durability",
            "keys are in this process only: its end loses them, and requests that were done run again",
            "use another store where more than one process serves, or a restart must not forget",
        );
        verification.add_steps(self).await;
        verification
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.wakeups.subscribe(id, POLLING)
    }

    fn outcome_limit(&self) -> usize {
        usize::MAX
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryStore")
            .field("used", &self.used.load(Ordering::Relaxed))
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
