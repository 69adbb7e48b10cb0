mod address;
mod cluster;
mod error;
mod keys;
mod link;
mod listener;
mod micros;
mod opening;
mod origin;
mod records;
mod reply;
mod script;
mod server;
mod slots;

use std::{fmt, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;

pub use error::RedisStoreError;

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Resolution, Store, StoreError, Subscription,
    check_length,
};
use crate::{Fingerprint, Listed, Record, RecordId, Token};
use keys::Keys;
use listener::Listener;
use records::Records;
use server::Server;

/// A store in Redis, for many processes: a claim is one round trip, and those who wait are woken at once.
///
/// ```no_run
/// use idempotency::{Idempotency, RedisStoreError, RedisStore};
///
/// # async fn example() -> Result<(), RedisStoreError> {
/// let store = RedisStore::connect("redis://:secret@keys.internal:6379/0").await?;
/// let idempotency = Idempotency::new(store.with_prefix("bookings:"));
/// # Ok(())
/// # }
/// ```
///
/// It needs Redis 6.2 or later, or Valkey. Each record is one key, named after the prefix and the record's id, so a cluster
/// spreads them. Clones are handles on one store; all commands of one process share a connection to each server, and one more
/// listens while duplicates wait. They are made anew whenever they break, or nothing comes back on them.
///
/// # What the server must keep
///
/// - **Persistence.** What Redis forgets runs again. `appendonly yes` with `appendfsync always` keeps every record that
///   was acknowledged; `everysec` may lose the last second when the machine fails, and snapshots what came after the
///   last one.
/// - **Failover.** Replicas are told later. When one takes over, it may lack claims and answers that were acknowledged,
///   and those requests can run twice. Where that must not happen, use a store that commits before it answers, such
///   as SQLite or Postgres.
/// - **Eviction.** `maxmemory-policy` must be `noeviction`: with another one a full server drops records before their
///   time, and their requests run again. [`connect`](Self::connect) looks and logs a warning. A full server without eviction
///   takes no new keys, which clients see as 503, while runs that hold a key can still renew it and store their answer, or
///   release it. A released key takes its room for another lease.
/// - **Size.** An answer of more than 64 MiB is not stored: it reaches its first client whole, and a retry is told that
///   it was not. A `proto-max-bulk-len` below that must leave room for the largest answer.
/// - **The clock.** Leases and ttls go by the server's clock, whatever those of the applications say. If it is set back,
///   records live longer; if it is set forward, shorter.
/// - **Rights.** A user of its own needs `+eval +evalsha +get +set +pexpireat +time +publish +subscribe +unsubscribe
///   +info`, on a cluster `+cluster|slots`, and, for [`list`](Store::list), `+scan`, on the prefix's keys
///   (`~bookings:*`) and channels (`&bookings:*`). [`connect`](Self::connect) tries the commands; the prefix it cannot know. A
///   user that may not publish or subscribe works too; those who wait then look once a second. One without `+info` is not told
///   of a server that is too old, evicts, or belongs to a cluster.
///
/// # Errors
///
/// A server that does not answer within two seconds counts as unavailable, although it may have done what it was told;
/// the engine's tokens sort that out. [`list`](Store::list) walks over all keys of the server, also those of others: it is for
/// operators, now and then. [`purge_expired`](Store::purge_expired) has nothing to do, because Redis removes what has expired.
#[derive(Clone)]
pub struct RedisStore {
    records: Records,
    listener: Listener,
}

/// What names begin with unless said.
const PREFIX: &str = "idempotency:";

/// The longest outcome: what is carried there, and back for each replay, well within the time of a step. The server itself
/// would take 512 MiB in one string, its `proto-max-bulk-len` unless configured; but an outcome that it is never told of
/// in time leaves a key whose retry runs again, and a tombstone does not. And while it copies, everybody else waits.
const MAX_OUTCOME: usize = 64 << 20;

/// How many records are read beside each other for a list.
const READ_AT_ONCE: usize = 100;

impl RedisStore {
    /// The store on this server: `redis://[user:password@]host[:port][/database]`; with the feature `redis-tls` also
    /// `rediss://`, which believes the certificates that this machine does, by the rustls provider that the program has installed
    /// (`rustls::crypto::ring::default_provider().install_default()`).
    ///
    /// # Errors
    ///
    /// If the URL cannot be used, or asks for TLS while no provider is installed, or the server does not answer or refuses the user; and if steps would fail there: of a server
    /// before 6.2, of a replica, of a user who lacks the right to a command, and of a node of a cluster.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        let server = Server::single(address::of(url)?).map_err(RedisStoreError::url)?;
        Self::on(server).await
    }

    /// The store on the cluster to which these nodes belong; the others are found out.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), idempotency::RedisStoreError> {
    /// use idempotency::RedisStore;
    ///
    /// let store = RedisStore::cluster(["redis://keys-1:6379", "redis://keys-2:6379"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), if there is no URL, and if the server belongs to no cluster.
    pub async fn cluster(
        nodes: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, RedisStoreError> {
        let nodes = nodes.into_iter().map(|url| address::of(url.as_ref()));
        let nodes = nodes.collect::<Result<_, _>>()?;
        let server = Server::cluster(nodes)
            .await
            .map_err(RedisStoreError::connect)?;
        Self::on(server).await
    }

    /// Names the keys of this store's records so that they begin with this; `idempotency:` unless said.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        Self::new(self.records.server, prefix)
    }

    async fn on(server: Server) -> Result<Self, RedisStoreError> {
        opening::check(&server).await?;
        Ok(Self::new(server, PREFIX))
    }

    fn new(server: Server, prefix: &str) -> Self {
        let records = Records {
            server,
            keys: Keys::new(prefix),
        };
        Self {
            listener: Listener::new(records.clone()),
            records,
        }
    }

    /// Wakes those who wait in this process, who need not go by the server.
    fn wake<T>(&self, id: &RecordId, ended: IfOwner<T>) -> IfOwner<T> {
        if matches!(ended, IfOwner::Done(_)) {
            self.listener.wake(id);
        }
        ended
    }
}

#[async_trait]
impl Store for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
        } = request;
        self.records
            .claim(ClaimRequest::new(hold, fingerprint, on_lost))
            .await
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.records.withdraw(hold, fingerprint).await?;
        self.listener.wake(&hold.id);
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.records.renew(hold).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        self.records.checkpoint(hold, &progress).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        let suspended = self.records.suspend(hold, &progress).await?;
        Ok(self.wake(&hold.id, suspended))
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        check_length(&outcome, MAX_OUTCOME)?;
        let completed = self.records.complete(hold, &outcome).await?;
        Ok(self.wake(&hold.id, completed))
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let released = self.records.release(hold).await?;
        Ok(self.wake(&hold.id, released))
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.records.find(id).await
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let (after, limit) = (request.after.as_ref(), request.limit);
        let mut ids = self.records.ids().await?;
        ids.retain(|id| after.is_none_or(|after| id > after));
        let mut listed = Vec::new();
        for ids in ids.chunks(READ_AT_ONCE) {
            if listed.len() >= limit {
                break;
            }
            let found = try_join_all(ids.iter().map(|id| self.records.listed(id, request))).await?;
            listed.extend(found.into_iter().flatten());
        }
        listed.truncate(limit);
        Ok(listed)
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let resolved = match resolution {
            Resolution::Replace { outcome } => {
                check_length(&outcome, MAX_OUTCOME)?;
                self.records.replace(id, seen, &outcome).await?
            }
            Resolution::Forget => self.records.forget(id, seen).await?,
            Resolution::Release => self.records.resolve(id, seen).await?,
            Resolution::Complete { outcome, ttl } => {
                check_length(&outcome, MAX_OUTCOME)?;
                self.records.settle(id, seen, ttl, &outcome).await?
            }
        };
        Ok(self.wake(id, resolved))
    }

    async fn purge_expired(&self, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.listener.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        MAX_OUTCOME
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisStore")
            .field("keys", &self.records.keys)
            .finish_non_exhaustive()
    }
}
