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
mod together;
mod verify;

use std::{fmt, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::try_join_all;

pub use error::RedisStoreError;

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Record, RecordId, Resolution, Store,
    StoreError, Subscription, Token, Verification, check_length,
};
use crate::Fingerprint;
use keys::Keys;
use listener::Listener;
use records::Records;
use server::Server;

/// What errors and logs call this store.
const NAME: &str = "redis";

/// A store in Redis, shared by many processes: a claim is one round trip, and waiters are woken at once.
///
/// ```no_run
/// use idempotency::{Idempotency, RedisStore, store::RedisStoreError};
///
/// # async fn example() -> Result<(), RedisStoreError> {
/// let store = RedisStore::connect("redis://:secret@keys.internal:6379/0").await?;
/// let idempotency = Idempotency::new(store.with_prefix("bookings:"));
/// # Ok(())
/// # }
/// ```
///
/// It needs Redis 6.2 or later, or Valkey. Each record is one key, named after the prefix and the record's id, so a
/// cluster spreads them. Clones are handles on one store. All commands of a process share one connection to each
/// server, and one more connection listens while duplicates wait. A connection is replaced when it breaks or receives
/// no replies.
///
/// # What the server must keep
///
/// - **Persistence.** The request of a record that Redis loses runs again. `appendonly yes` with `appendfsync always`
///   keeps every acknowledged record. `everysec` may lose the last second when the machine fails, and snapshots lose
///   everything since the last one.
/// - **Failover.** Replication is asynchronous. A replica that takes over may lack claims and responses that were
///   acknowledged, and those requests can run twice. If that must not happen, use a store that commits before it
///   acknowledges, such as SQLite or PostgreSQL.
/// - **Eviction.** `maxmemory-policy` must be `noeviction`: with another policy a full server drops records before
///   their time, and their requests run again. [`connect`](Self::connect) checks this and logs a warning. A full server
///   without eviction accepts no new keys, which clients see as 503. Runs that hold a key can still renew it, store
///   their response, or release it. A released key takes its room for another lease.
/// - **Size.** A value of [`run`](crate::Idempotency::run) of more than 64 MiB is not stored, and an HTTP response of more
///   than 1 MiB is not stored in any store: its first caller receives it in full, and a retry learns that it was not
///   stored. A lower `proto-max-bulk-len` must leave room for the largest outcome.
/// - **The clock.** Leases and ttls follow the server's clock and not those of the applications. If it is set back,
///   records live longer; if it is set forward, shorter.
/// - **Rights.** A dedicated user needs `+eval +evalsha +get +set +pexpireat +time +publish +subscribe +unsubscribe
///   +info`, on a cluster `+cluster|slots`, and, for [`list`](Store::list), `+scan`, on the prefix's keys
///   (`~bookings:*`) and channels (`&bookings:*`). [`connect`](Self::connect) tries the commands, but it does not know
///   the prefix. A user that may not publish or subscribe works too, but then waiters poll once a second. A user
///   without `+info` gets no warning that a server is too old, evicts, or belongs to a cluster.
///
/// # Errors
///
/// A server that does not respond within two seconds counts as unavailable, although it may have run the command; the
/// engine's tokens resolve that. [`list`](Store::list) scans all keys of the server, including those of other
/// applications: it is meant for occasional use by operators. [`purge_expired`](Store::purge_expired) has nothing to
/// do, because Redis removes expired records.
#[derive(Clone)]
pub struct RedisStore {
    records: Records,
    listener: Listener,
}

/// The default prefix of the keys.
const PREFIX: &str = "idempotency:";

/// The longest outcome: one that travels to the server, and back for each replay, well within the time of a step. The
/// server itself would accept 512 MiB in one string, the default of `proto-max-bulk-len`. But if an outcome does not
/// reach it in time, a retry runs again, which a tombstone prevents. And while the server copies, all other clients
/// wait.
const MAX_OUTCOME: usize = 64 << 20;

/// How many records are read concurrently for a list.
const READ_AT_ONCE: usize = 100;

impl RedisStore {
    /// The store on this server: `redis://[user:password@]host[:port][/database]`, or with the feature `redis-tls` also
    /// `rediss://`. TLS trusts the system's root certificates and uses the rustls provider that the program has
    /// installed (`rustls::crypto::ring::default_provider().install_default()`).
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or asks for TLS while no provider is installed; if the server does not respond or rejects
    /// the user; and if steps would fail there: on a server before 6.2, on a replica, for a user who lacks the right to
    /// a command, and on a node of a cluster.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        let server = Server::single(address::of(url)?).map_err(RedisStoreError::url)?;
        Self::on(server).await
    }

    /// The store on the cluster to which these nodes belong; it discovers the other nodes.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), idempotency::store::RedisStoreError> {
    /// use idempotency::RedisStore;
    ///
    /// let store = RedisStore::cluster(["redis://keys-1:6379", "redis://keys-2:6379"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect), if there is no URL, and if the server does not belong to a cluster.
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

    /// Sets the prefix of the keys of this store's records; `idempotency:` by default.
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

    /// Wakes the waiters in this process, which then need no notification from the server.
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
        NAME
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
                self.records.replace(id, seen, &outcome, false).await?
            }
            Resolution::Erase { outcome } => {
                check_length(&outcome, MAX_OUTCOME)?;
                self.records.replace(id, seen, &outcome, true).await?
            }
            Resolution::Forget => self.records.forget(id, seen).await?,
            Resolution::Release => self.records.resolve(id, seen).await?,
            Resolution::Complete { outcome, ttl } => {
                check_length(&outcome, MAX_OUTCOME)?;
                self.records
                    .complete_as_operator(id, seen, ttl, &outcome)
                    .await?
            }
        };
        Ok(self.wake(id, resolved))
    }

    async fn purge_expired(&self, _limit: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn verify(&self) -> Verification {
        let mut verification = Verification::new();
        verify::check(&self.records.server, &mut verification).await;
        verification.add_steps(self).await;
        verification
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
