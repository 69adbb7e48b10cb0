mod operators;
mod room;
mod scopes;
mod shard;

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
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Phase, Polling, Record, RecordId,
    Resolution, ScopeId, Store, StoreError, Subscription, Token, Verification, Wakeups,
    share::admit, spent::SpentTokens,
};
use crate::{Clock, Fingerprint, OnLost};
use scopes::Scopes;
use shard::{Entry, Shard};

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
        let mut shard = self.shard(&hold.id);
        let now = self.clock.now();
        let (attempt, progress, spent) = match shard.living(&hold.id, now) {
            Some(entry) if entry.is_spent(&hold.token) => return Err(StoreError::withdrawn()),
            None => (1, Bytes::new(), SpentTokens::default()),
            Some(entry) if entry.is_free() => (1, Bytes::new(), entry.spent_tokens()),
            Some(entry) => match &entry.phase {
                Phase::Completed { outcome } => {
                    return Ok(Claim::Completed {
                        fingerprint: entry.fingerprint,
                        outcome: outcome.clone(),
                        expires_at: entry.expires_at,
                    });
                }
                Phase::InFlight { progress, .. } if entry.token == hold.token => {
                    return Ok(Claim::Won {
                        attempt: entry.attempt,
                        progress: progress.clone(),
                    });
                }
                Phase::InFlight { progress, .. } if entry.may_be_taken(fingerprint, now) => {
                    match on_lost {
                        OnLost::TakeOver => {
                            (entry.attempt + 1, progress.clone(), entry.spent_tokens())
                        }
                        OnLost::Refuse => {
                            return Ok(Claim::Unknown {
                                fingerprint: entry.fingerprint,
                            });
                        }
                    }
                }
                Phase::InFlight { .. } => {
                    return Ok(Claim::InFlight {
                        fingerprint: entry.fingerprint,
                    });
                }
            },
        };
        let reserved = match attempt {
            1 => Some(self.make_room(&mut shard, &hold.scope, now)?),
            _ => None,
        };
        let (share, created_at, labels) = match (reserved, shard.remove(&hold.id)) {
            (None, Some(replaced)) => (replaced.share, replaced.created_at, replaced.labels),
            (reserved, replaced) => {
                replaced.iter().for_each(|entry| self.forget(entry));
                (reserved, now, hold.labels.clone())
            }
        };
        let lease_until = later(now, hold.lease);
        let entry = Entry {
            fingerprint: *fingerprint,
            token: hold.token,
            share,
            attempt,
            is_withdrawn: false,
            spent,
            expires_at: later(lease_until, hold.ttl),
            queued_at: later(now, hold.ttl),
            phase: Phase::InFlight {
                lease_until,
                progress: progress.clone(),
            },
            created_at,
            completed_at: None,
            labels,
        };
        shard.insert(hold.id, entry);
        Ok(Claim::Won { attempt, progress })
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let mut shard = self.shard(&hold.id);
        let now = self.clock.now();
        let forgotten_at = later(later(now, hold.lease), hold.ttl);
        let Some(entry) = shard.living(&hold.id, now) else {
            if let Some(expired) = shard.remove(&hold.id) {
                self.forget(&expired);
            }
            let mark = Entry::free(*fingerprint, hold.token, now, forgotten_at);
            shard.insert(hold.id, mark);
            return Ok(());
        };
        let is_own = entry.token == hold.token;
        let (attempt, expires_at) = (entry.attempt, entry.expires_at);
        if entry.is_spent(&hold.token) {
            return Ok(());
        }
        match &entry.phase {
            _ if entry.is_free() => {
                self.free(&mut shard, &hold.id, hold.token, now, forgotten_at);
            }
            Phase::InFlight { progress, .. } if is_own && attempt == 1 && progress.is_empty() => {
                self.free(&mut shard, &hold.id, hold.token, now, forgotten_at);
            }
            Phase::InFlight { .. } if is_own => {
                self.suspend_as(&mut shard, hold, (attempt - 1).max(1), now);
            }
            // The claim may yet arrive, perhaps when this run is lost or its key is free.
            Phase::InFlight { .. } => shard.update(&hold.id, expires_at, |entry| {
                entry.spent = entry.spent.with(&hold.token);
            }),
            Phase::Completed { .. } => {}
        }
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let mut shard = self.shard(&hold.id);
        let now = self.clock.now();
        if !shard.owns(&hold.id, &hold.token, now) {
            return Ok(IfOwner::NotOwner);
        }
        let renewed = later(now, hold.lease);
        shard.update(&hold.id, later(renewed, hold.ttl), |entry| {
            if let Phase::InFlight { lease_until, .. } = &mut entry.phase {
                *lease_until = renewed;
            }
        });
        Ok(IfOwner::Done(()))
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let mut shard = self.shard(&hold.id);
        if !shard.owns(&hold.id, &hold.token, self.clock.now()) {
            return Ok(IfOwner::NotOwner);
        }
        self.keep_progress(&mut shard, &hold.id, progress);
        Ok(IfOwner::Done(()))
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let mut shard = self.shard(&hold.id);
        let now = self.clock.now();
        if let Some(entry) = shard.living(&hold.id, now)
            && entry.is_withdrawn
            && entry.is_in_flight()
            && entry.token == hold.token
        {
            // The same owner repeats a call that was done but whose reply was lost.
            return Ok(IfOwner::Done(()));
        }
        if !shard.owns(&hold.id, &hold.token, now) {
            return Ok(IfOwner::NotOwner);
        }
        self.keep_progress(&mut shard, &hold.id, progress);
        let attempt = shard.entries.get(&hold.id).map_or(1, |entry| entry.attempt);
        self.suspend_as(&mut shard, hold, attempt, now);
        Ok(IfOwner::Done(()))
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let mut shard = self.shard(&hold.id);
        let now = self.clock.now();
        if shard.owns(&hold.id, &hold.token, now) {
            let expires_at = later(now, hold.ttl);
            self.keep(&mut shard, &hold.id, hold.token, outcome, now, expires_at);
            return Ok(IfOwner::Done(expires_at));
        }
        // The same owner repeats a completion that was done but whose reply was lost.
        let own = shard.own(&hold.id, &hold.token, now);
        Ok(own.map_or(IfOwner::NotOwner, |entry| IfOwner::Done(entry.expires_at)))
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let mut shard = self.shard(&hold.id);
        let now = self.clock.now();
        if !shard.owns(&hold.id, &hold.token, now) {
            return Ok(IfOwner::NotOwner);
        }
        self.free(
            &mut shard,
            &hold.id,
            hold.token,
            now,
            later(now, hold.lease),
        );
        Ok(IfOwner::Done(()))
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let now = self.clock.now();
        let shard = self.shard(id);
        let entry = shard.living(id, now).filter(|entry| !entry.is_free());
        Ok(entry.map(|entry| entry.record(*id)))
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
        Ok(self.resolved(id, seen, resolution))
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let mut purged = 0;
        for shard in self.shards.iter() {
            // The entries are dropped after the lock is released, because freeing memory takes longer than the rest.
            let removed = shard
                .lock()
                .take_expired(now, PURGED_AT_ONCE.min(limit - purged));
            removed.iter().for_each(|entry| self.forget(entry));
            purged += removed.len();
        }
        Ok(purged)
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

/// Caps a longer span at a century.
fn later(time: SystemTime, by: Duration) -> SystemTime {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    time + by.min(CENTURY)
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
