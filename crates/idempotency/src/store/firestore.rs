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
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Polling, Resolution, SPENT_FOR, Store,
    StoreError, Subscription, Wakeups, check_length,
};
use crate::{Fingerprint, Listed, Record, RecordId, Token};
use change::Change;
use client::Failure;
use owner::Author;
use record_cache::RecordCache;
use step::{Look, Next};

/// A store in Google's Firestore: several processes, and machines, serve the same clients.
///
/// ```no_run
/// use idempotency::{FirestoreStore, Idempotency};
///
/// # async fn example() -> Result<(), idempotency::FirestoreStoreError> {
/// let idempotency = Idempotency::new(FirestoreStore::connect("my-project").await?);
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles on one store, over one connection that comes back by itself. A call without a response within two
/// seconds counts as failed, although Firestore may have done it, and the next call has a new connection.
///
/// With [`new`](Self::new) it is in the [`FirestoreDatabase`] that handlers have their own documents in, which can then
/// commit them together with their key, by a [`FirestoreTransaction`].
///
/// The time is the server's: leases and ttls count from when Firestore made the step, and end when it is asked
/// after that. A first run costs two calls, one to claim and one to complete. A replay costs one where this process
/// has met the key lately, as it has when the client comes back soon, and two otherwise. In transactional mode a first
/// run costs two, a look and the handler's own commit, and a replay one.
///
/// # What it needs
///
/// A database in native mode named `(default)`, and the role `roles/datastore.user` for the application's default
/// credentials; and a rustls provider, which the program installs before it connects
/// (`rustls::crypto::ring::default_provider().install_default()`). The records are the documents of the collection `idempotency_records`; nothing has to be made
/// beforehand. For more than a few hundred new keys a second exempt the collection from what its queries do not
/// need, because Firestore indexes each field unless told otherwise, and let it expire documents itself, because
/// the sweep needs the index on `expires_at`:
///
/// ```text
/// gcloud firestore indexes fields update '*' --collection-group=idempotency_records --disable-indexes
/// gcloud firestore fields ttls update expires_at --collection-group=idempotency_records --enable-ttl
/// ```
///
/// Documents stay for an hour longer than their records, or for a day or so with a policy. They are not replayed
/// meanwhile. A key that was released or forgotten has a document too, which is no record: it keeps a late copy of the claim from taking the key
/// again.
///
/// # Limits
///
/// - A document holds a mebibyte, so an answer of more than a thousand kibibytes is not stored: it reaches its
///   first client whole, and a retry is told that it was not.
/// - Firestore tells nobody when a document changes, short of a stream for each. A duplicate that waits is woken at
///   once in the process that runs the first. Elsewhere it looks after 25 ms, and after twice as long each time, up
///   to a second; where several wait, the first one that sees a change wakes the others of its process.
#[derive(Clone)]
pub struct FirestoreStore {
    database: FirestoreDatabase,
    record_cache: RecordCache,
    wakeups: Wakeups,
}

/// The longest outcome, and the longest progress, which has its place until then: a document of 1024 KiB less the other
/// fields, with room for those of later versions.
const MAX_OUTCOME: usize = 1000 * 1024;

/// How often those look whom nobody wakes.
const POLLING: Polling = Polling::backing_off(Duration::from_millis(25), Duration::from_secs(1));

impl FirestoreStore {
    /// A store in this database, which handlers may have their own documents in, and commit them with their keys.
    #[must_use]
    pub fn new(database: FirestoreDatabase) -> Self {
        Self {
            database,
            record_cache: RecordCache::default(),
            wakeups: Wakeups::default(),
        }
    }

    /// A store in the project's default database, by [`FirestoreDatabase::connect`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn connect(project: &str) -> Result<Self, FirestoreStoreError> {
        FirestoreDatabase::connect(project).await.map(Self::new)
    }

    /// A store in an emulator, by [`FirestoreDatabase::connect_to_emulator`].
    ///
    /// # Errors
    ///
    /// As there.
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
        "firestore"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
        } = request;
        self.take(hold, fingerprint, on_lost).await
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.take_back(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let change = |kept| {
            let hold = hold.clone();
            Some(Change::Renew { hold, kept })
        };
        self.go_on(hold, change).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        // Progress that is shorter than what is kept is of an earlier time.
        let change = |kept| {
            (progress.len() >= kept).then(|| Change::Checkpoint {
                token: hold.token,
                progress: progress.clone(),
            })
        };
        self.go_on(hold, change).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.leave_off(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.keep(&hold.id, Author::Owner(hold.token), outcome, hold.ttl)
            .await
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.free(&hold.id, Author::Owner(hold.token), hold.lease)
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
            Resolution::Replace { outcome } => self.replace(id, seen, outcome).await,
            Resolution::Forget => self.forget(id, seen).await,
            Resolution::Release => self.free(id, author, SPENT_FOR).await,
            Resolution::Complete { outcome, ttl } => {
                Ok(match self.keep(id, author, outcome, ttl).await? {
                    IfOwner::Done(_) => IfOwner::Done(()),
                    IfOwner::NotOwner => IfOwner::NotOwner,
                })
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
                // There is no index, which is how to leave it all to Firestore's own policy.
                Err(Failure::Conflict(status)) => {
                    tracing::debug!(%status, "expired keys are not swept, for lack of an index");
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
            // Others sweep the same ones.
            if removed == 0 || found < next {
                break;
            }
        }
        Ok(purged)
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
    StoreError::unavailable(failure.into_status())
}
