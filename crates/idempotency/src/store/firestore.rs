mod change;
mod claim;
mod client;
mod commit;
mod connection;
mod database;
mod document;
mod emulator;
mod error;
mod operators;
mod owner;
mod query;
mod record_cache;
mod server_clock;
mod step;
mod transaction;
mod unmet;
mod verify;
mod writes;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use database::FirestoreDatabase;
pub use error::FirestoreStoreError;
pub use transaction::FirestoreConflict;
pub use transaction::FirestoreTransaction;
pub use writes::FirestorePrecondition;

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Polling, Record, RecordId, Resolution,
    SPENT_FOR, Store, StoreError, Subscription, Token, Verification, Wakeups, check_length,
};
use crate::Fingerprint;
use change::Change;
use client::Failure;
use owner::Author;
use record_cache::RecordCache;
use step::{Look, Next};
use unmet::UnmetKeys;

/// What errors and logs call this store.
const NAME: &str = "firestore";

/// A store in Google's Firestore, shared by many processes and machines.
///
/// ```no_run
/// use idempotency::{FirestoreStore, Idempotency};
///
/// # async fn example() -> Result<(), idempotency::store::FirestoreStoreError> {
/// let idempotency = Idempotency::new(FirestoreStore::connect("my-project").await?);
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles on one store, over one connection that reconnects by itself. A call without a response within two
/// seconds counts as failed, although Firestore may have carried it out, and the next call uses a new connection.
///
/// With [`new`](Self::new) the store uses the [`FirestoreDatabase`] in which handlers keep their own documents. They
/// can then commit these together with their key, by a [`FirestoreTransaction`].
///
/// Times are the server's: leases and ttls count from when Firestore made the step, and are judged by the time of a
/// later read. A first run costs two calls, one to claim and one to complete. A replay costs one call if this process
/// has met the key lately, as it has when the client retries soon, and two otherwise. While most keys that it has not
/// met turn out to have records, as after a restart amid retries, it reads before it claims: then such a replay costs
/// one call too, and a first run three. In transactional mode a first run costs two calls, a read and the handler's own
/// commit, and a replay costs one.
///
/// # What it needs
///
/// A database in native mode named `(default)`; the role `roles/datastore.user` for the application's default
/// credentials; and a rustls provider, which the program installs before it connects
/// (`rustls::crypto::ring::default_provider().install_default()`). The records are the documents of the collection
/// `idempotency_records`, which need not be created beforehand. Firestore indexes each field by default. For more than
/// a few hundred new keys a second, exempt the collection from the indexes that its queries do not need, and let
/// Firestore delete expired documents itself, because the sweep needs the index on `expires_at`:
///
/// ```text
/// gcloud firestore indexes fields update '*' --collection-group=idempotency_records --disable-indexes
/// gcloud firestore fields ttls update expires_at --collection-group=idempotency_records --enable-ttl
/// ```
///
/// Documents stay for an hour longer than their records, or for about a day with a TTL policy. They are not replayed
/// meanwhile. A key that was released or forgotten has a document too, which does not count as a record: it prevents a
/// late copy of the claim from taking the key again.
///
/// # Limits
///
/// - A document holds a mebibyte, so a response of more than a thousand kibibytes is not stored: its first client
///   receives it in full, and a retry learns that it was not stored.
/// - Firestore sends notifications of changes only over a stream for each document. A waiting duplicate is woken at
///   once in the process that runs the first request. In other processes it polls after 25 ms, and then after twice as
///   long each time, up to a second. If several duplicates wait in a process, the first that sees a change wakes the
///   others.
#[derive(Clone)]
pub struct FirestoreStore {
    database: FirestoreDatabase,
    record_cache: RecordCache,
    unmet_keys: UnmetKeys,
    wakeups: Wakeups,
}

/// The longest outcome, and the longest progress, which is stored in the same field until then: a document of 1024 KiB
/// less the other fields, with room for those of later versions.
const MAX_OUTCOME: usize = 1000 * 1024;

/// How often a waiter polls that was not woken.
const POLLING: Polling = Polling::backing_off(Duration::from_millis(25), Duration::from_secs(1));

impl FirestoreStore {
    /// A store in this database, in which handlers can keep their own documents and commit them together with their
    /// keys.
    #[must_use]
    pub fn new(database: FirestoreDatabase) -> Self {
        Self {
            database,
            record_cache: RecordCache::default(),
            unmet_keys: UnmetKeys::default(),
            wakeups: Wakeups::default(),
        }
    }

    /// A store in the project's default database, which it opens by [`FirestoreDatabase::connect`].
    ///
    /// # Errors
    ///
    /// As for [`FirestoreDatabase::connect`].
    pub async fn connect(project: &str) -> Result<Self, FirestoreStoreError> {
        FirestoreDatabase::connect(project).await.map(Self::new)
    }

    /// A store in an emulator, which it opens by [`FirestoreDatabase::connect_to_emulator`].
    ///
    /// # Errors
    ///
    /// As for [`FirestoreDatabase::connect_to_emulator`].
    pub async fn connect_to_emulator(
        project: &str,
        address: &str,
    ) -> Result<Self, FirestoreStoreError> {
        let database = FirestoreDatabase::connect_to_emulator(project, address).await;
        database.map(Self::new)
    }

    /// The database, for the application's own documents.
    #[must_use]
    pub fn database(&self) -> &FirestoreDatabase {
        &self.database
    }
}

#[async_trait]
impl Store for FirestoreStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
        } = request;
        self.claim_step(hold, fingerprint, on_lost).await
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.withdraw_claim(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let change = |kept| {
            let hold = hold.clone();
            Some(Change::Renew { hold, kept })
        };
        self.renew_with(hold, change).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        // Progress that is shorter than the stored progress is outdated.
        let change = |kept| {
            (progress.len() >= kept).then(|| Change::Checkpoint {
                token: hold.token,
                progress: progress.clone(),
            })
        };
        self.renew_with(hold, change).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.suspend_hold(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.complete_as(&hold.id, Author::Owner(hold.token), outcome, hold.ttl)
            .await
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.release_as(&hold.id, Author::Owner(hold.token), hold.lease)
            .await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let decide = |look: Look| Next::Answer(look.living().map(|found| found.record));
        self.step(id, None, decide, |_, _| None).await
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
        let author = Author::Operator { seen: *seen };
        match resolution {
            Resolution::Replace { outcome } => {
                let change = Change::Replace { outcome };
                self.replace(id, seen, change).await
            }
            Resolution::Erase { outcome } => {
                let change = Change::Erase { outcome };
                self.replace(id, seen, change).await
            }
            Resolution::Forget => self.forget(id, seen).await,
            Resolution::Release => self.release_as(id, author, SPENT_FOR).await,
            Resolution::Complete { outcome, ttl } => {
                Ok(self.complete_as(id, author, outcome, ttl).await?.map(drop))
            }
        }
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let mut purged = 0;
        while purged < limit {
            let next = query::MAX_PURGED.min(limit - purged);
            let query = query::deletable(self.database.0.clock.now(), next);
            let page = match self.database.0.query(query).await {
                Ok((page, _)) => page,
                // There is no index, so deletion is left to Firestore's own policy.
                Err(Failure::Conflict(status)) => {
                    tracing::debug!(%status, "expired keys are not swept, because there is no index");
                    return Ok(purged);
                }
                Err(failure) => return Err(unavailable(failure)),
            };
            let found = page.len();
            let removals = page
                .into_iter()
                .filter_map(|document| Some(change::removal(document.name, document.update_time?)));
            let removals: Vec<_> = removals.collect();
            if removals.is_empty() {
                break;
            }
            let removed = self
                .database
                .0
                .write_each(removals)
                .await
                .map_err(unavailable)?;
            purged += removed;
            // Other processes sweep the same records.
            if removed == 0 || found < next {
                break;
            }
        }
        Ok(purged)
    }

    async fn verify(&self) -> Verification {
        let mut verification = Verification::new();
        verify::check(&self.database.0, &mut verification).await;
        verification.add_steps(self).await;
        verification
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.wakeups.subscribe(id, POLLING)
    }

    fn outcome_limit(&self) -> usize {
        MAX_OUTCOME
    }
}

impl fmt::Debug for FirestoreStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FirestoreStore")
            .field("database", &self.database.0.database())
            .finish_non_exhaustive()
    }
}

fn unavailable(failure: Failure) -> StoreError {
    StoreError::unavailable(failure.into_status()).with_store(NAME)
}
