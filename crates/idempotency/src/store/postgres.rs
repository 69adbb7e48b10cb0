mod checked_out;
mod claims;
mod client;
mod completions;
mod connections;
mod ends;
mod error;
mod identity;
mod listener;
mod live;
mod looks;
mod opening;
mod operators;
mod records;
mod route;
mod schema;
mod statements;
mod take_over;
mod transaction;
mod verify;

use std::{fmt, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::{PgPool, query};

pub use client::PostgresStatement;
pub use client::PostgresTransaction;
pub use client::PostgresValue;
pub use error::PostgresStoreError;

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Polling, Record, RecordId, Resolution,
    Store, StoreError, Subscription, Token, Verification, Wakeups, check_length, lane::Lane,
};
use crate::Fingerprint;
use claims::{Claims, First};
use completions::Completions;
use connections::{Connections, Retry};
use identity::Identity;
use listener::Listener;
use looks::Looks;
use records::{MAX_OUTCOME, Next, fenced, microseconds};

/// What errors and logs call this store.
const NAME: &str = "postgres";

/// A store in PostgreSQL, next to the application's own tables. Any number of processes share it.
///
/// ```no_run
/// use idempotency::{Idempotency, PostgresStore};
/// use sqlx::PgPool;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = PgPool::connect("postgres://app@db.example/bookings").await?;
/// let store = PostgresStore::new(pool.clone());
/// store.create_schema().await?;
/// let idempotency = Idempotency::new(store);
/// # Ok(())
/// # }
/// ```
///
/// The pool is one of sqlx 0.9. The transactions that carry keys may be those of another client (see
/// [`Transaction`](crate::store::Transaction)). Clones are handles on one store. A first run costs two statements, its claim
/// and its completion, each with a commit of its own. In transactional mode it costs a read, and one statement in the
/// handler's own transaction. A replay costs one statement that writes nothing. Claims, completions and reads that arrive
/// while two such statements are under way share the next one, and its commit.
///
/// # Connections
///
/// The store opens connections of its own, with the pool's settings and at most as many as the pool may have, and only
/// when it needs them. It does not write through the pool's connections: dropping the future of `pool.begin()` may
/// leave a connection there with its transaction open, and a claim in it would be lost. The pool's limits on a
/// connection's age and idle time, and its hooks, apply every few seconds and not at every statement.
///
/// A connection on which the server does not respond for four seconds is closed, together with all idle connections
/// that have been silent as long, and the store continues with new ones. The application's pool does not do that: if a
/// connection goes silent during a statement, sqlx keeps its place until the operating system gives the connection up,
/// which takes a quarter of an hour on Linux unless `net.ipv4.tcp_retries2` is lowered.
///
/// # What it needs
///
/// PostgreSQL 12 or later, and a role that may select, insert, update and delete in the table `idempotency_records`,
/// and read `idempotency_schema`. Both are found by the role's search path. The application's own tables may be in the
/// same schema.
///
/// # TLS
///
/// The feature `postgres` does not enable TLS in sqlx, because the application chooses it, for its version of sqlx:
/// `sqlx = { version = "0.9", features = ["tls-rustls-ring-webpki"] }`, or another of the features `tls-…`. Without it,
/// `sslmode=require` and stricter modes are an error, and `prefer`, the default, does not encrypt. With rustls and
/// `verify-ca`, sqlx uses the provider that the program has installed. If none is installed, it panics unless exactly
/// one is compiled in, so install one at the start (`rustls::crypto::ring::default_provider().install_default()`).
///
/// # Duplicates that wait
///
/// From the first waiting duplicate on, each store uses one more connection, on which it listens for notifications. If
/// that does not work, a duplicate polls after 25 ms, and then after twice as long each time, up to a second. A waiting
/// duplicate does not hold a connection.
///
/// # PgBouncer
///
/// The store detects transaction-pooling proxies. Behind one it prepares no statements, which costs three more round
/// trips for each, and does without notifications. Statement pooling is not supported. sqlx sends `extra_float_digits`
/// when it connects, which PgBouncer refuses by default: build the pool with
/// `PgConnectOptions::extra_float_digits(None)`, as [`connect`](Self::connect) does.
///
/// # Limits
///
/// Commits are as durable as the server is configured: with `synchronous_commit = off`, or after a failover to a
/// standby that replicates asynchronously, the last responses may be lost, and their requests run again. A process that
/// pauses between the statements of a transactional commit keeps its key's row locked until the server ends its
/// transaction: set `idle_in_transaction_session_timeout`. Meanwhile retries of that key get 503 after three seconds,
/// or 409 if they claim under a lease. Other keys are not affected: the server gives up waiting for the lock, and the
/// connection is free again. The application's own statements wait as long as its `lock_timeout` says, which is
/// unlimited by default. The engine's sweep deletes expired records; autovacuum reclaims their room and must be on. A
/// value of [`run`](crate::Idempotency::run) of more than 64 MiB is not stored, and an HTTP response of more than 1 MiB
/// is not stored in any store: its first caller receives it in full, and a retry learns that it was not stored.
///
/// # Errors
///
/// A server that is down, slow or out of connections counts as unavailable within four seconds. Within that time, a
/// statement whose connection broke is sent again if it can recognise its own effect. A server that accepts no writes
/// is unavailable for reading too: a standby that lags behind would show a key as free. A record that another version
/// wrote, or that was damaged, is unreadable. None of this is ever taken for a free key.
#[derive(Clone)]
pub struct PostgresStore(Arc<Shared>);

struct Shared {
    connections: Arc<Connections>,
    claims: Lane<Claims>,
    completions: Lane<Completions>,
    looks: Lane<Looks>,
    identity: Identity,
    wakeups: Wakeups,
    listener: Listener,
}

/// How often a claim reads a record that other sessions keep changing.
const MAX_READS: usize = 100;

impl PostgresStore {
    /// The statements that [`create_schema`](Self::create_schema) executes, for manual migrations.
    pub const SCHEMA: &str = schema::CREATE;

    /// A store that uses this pool. Nothing is sent yet.
    ///
    /// [`Execution::commit`](crate::Execution::commit) commits keys with transactions of this pool and of any other
    /// client, if they are in the pool's database and schema. This is checked in the transaction itself.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        let connections = Arc::new(Connections::beside(pool));
        let wakeups = Wakeups::default();
        let completions = Completions::new(Arc::clone(&connections), wakeups.clone());
        Self(Arc::new(Shared {
            claims: Lane::new(Claims::new(Arc::clone(&connections))),
            completions: Lane::new(completions),
            looks: Lane::new(Looks::new(Arc::clone(&connections))),
            connections,
            identity: Identity::default(),
            wakeups,
            listener: Listener::new(),
        }))
    }

    /// The pool, for the application's own tables.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.0.connections.pool()
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
        } = request;
        // A waiter has to listen before it reads, or it misses what happens in between.
        let listening = self.0.wakeups.is_waited_for(&hold.id) && self.0.listener.is_on().await;
        for _ in 0..MAX_READS {
            let found = match self.claim_once(hold, fingerprint).await? {
                First::Record(found) => found,
                First::Nothing => continue,
                First::Locked => return Ok(being_written(fingerprint)),
            };
            self.0.wakeups.saw(&hold.id, found.owner());
            let is_notified = found.awaited;
            match found.decide(hold, fingerprint, on_lost) {
                Next::Answer(claim) => {
                    if matches!(claim, Claim::Won { .. }) {
                        self.before_run().await;
                    }
                    return Ok(claim);
                }
                Next::Wait(owner, claim) => {
                    if !listening || is_notified || self.await_end(&hold.id, &owner).await? {
                        return Ok(claim);
                    }
                }
                Next::Spent => return Err(StoreError::withdrawn()),
                Next::TakeOver => {
                    if let Some(won) = self.take_over(hold, fingerprint, on_lost).await? {
                        return Ok(won);
                    }
                }
            }
        }
        Err(StoreError::unavailable(format!(
            "the record changed {MAX_READS} times while it was read"
        )))
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.withdraw_claim(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let rows = self.0.connections.run(Retry::Always, || {
            query(statements::RENEW)
                .bind(hold.id.as_bytes())
                .bind(hold.token.as_bytes())
                .bind(microseconds(hold.lease))
                .bind(microseconds(hold.ttl))
        });
        Ok(fenced(&rows.await?))
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        let rows = self.0.connections.run(Retry::Always, || {
            query(statements::CHECKPOINT)
                .bind(hold.id.as_bytes())
                .bind(hold.token.as_bytes())
                .bind(progress.as_ref())
        });
        Ok(fenced(&rows.await?))
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        let rows = self.0.connections.run(Retry::Always, || {
            query(statements::SUSPEND)
                .bind(hold.id.as_bytes())
                .bind(hold.token.as_bytes())
                .bind(microseconds(hold.ttl))
                .bind(progress.as_ref())
        });
        Ok(self.ended(&hold.id, &rows.await?))
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        check_length(&outcome, MAX_OUTCOME)?;
        self.complete_as_owner(hold, &outcome).await
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.release_as(&hold.id, &hold.token, hold.lease, false)
            .await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let found = self.find(id).await?;
        if found.is_none() {
            self.before_run().await;
        }
        Ok(found)
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        self.listed(request).await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        self.resolved(id, seen, resolution).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let purged = self.0.connections.run(Retry::IfNotApplied, || {
            query(statements::PURGE).bind(records::rows(limit))
        });
        Ok(purged.await?.len())
    }

    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        self.counted().await.map(Some)
    }

    async fn verify(&self) -> Verification {
        let mut verification = Verification::new();
        verify::check(self.pool(), &mut verification).await;
        verification.add_steps(self).await;
        verification
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        let Shared {
            connections,
            wakeups,
            listener,
            ..
        } = self.0.as_ref();
        listener.ensure_running(connections, wakeups);
        wakeups.subscribe(id, listener.polling())
    }

    fn outcome_limit(&self) -> usize {
        MAX_OUTCOME
    }
}

/// The result of a claim for a key that another session is writing. It is not known yet whether that session's request
/// is the same; the next claim finds out.
const fn being_written(fingerprint: &Fingerprint) -> Claim {
    Claim::InFlight {
        fingerprint: *fingerprint,
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PostgresStore")
            .field("pool", self.pool())
            .finish_non_exhaustive()
    }
}
