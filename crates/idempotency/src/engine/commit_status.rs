//! Determines whether a transaction committed whose commit was not confirmed.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Idempotency, decision, store_timeout::with_store_timeout};
use crate::{
    OnLost,
    record::Token,
    store::{Claim, ClaimRequest, IfOwner, StoreError, transaction::PendingRecord},
};

/// The key's state after such a commit.
#[expect(
    missing_docs,
    missing_debug_implementations,
    reason = "public for the model only"
)]
pub enum CommitStatus {
    /// The transaction was committed, with this outcome, which is stored until then.
    Committed {
        outcome: Bytes,
        expires_at: SystemTime,
    },
    /// The transaction did not commit, and never will: another run has the key.
    Superseded,
    /// The transaction did not commit, and never will.
    NotCommitted,
}

/// The delays between attempts, while the store gives no response.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// The time for all attempts together, during which the client waits.
const TIMEOUT: Duration = Duration::from_secs(8);

impl Idempotency {
    /// Writes to the record that the transaction would have written, then reads it. A commit that is still in progress
    /// either finishes before the read or fails on this write.
    pub(crate) async fn resolve_commit(
        &self,
        entry: &PendingRecord,
    ) -> Result<CommitStatus, StoreError> {
        // One token for all attempts: an attempt whose reply was lost must not look like another run to the next attempt.
        let token = Token::random();
        let looks = async {
            let mut status = self.look(entry, token).await;
            for pause in PAUSES {
                if status.is_err() {
                    tokio::time::sleep(pause).await;
                    status = self.look(entry, token).await;
                }
            }
            status
        };
        tokio::time::timeout(TIMEOUT, looks)
            .await
            .unwrap_or_else(|_| Err(StoreError::unavailable("no response within 8 seconds")))
            .map_err(|error| error.with_store(self.store().name()))
    }

    async fn look(&self, entry: &PendingRecord, token: Token) -> Result<CommitStatus, StoreError> {
        let store = &self.0.store;
        if entry.is_held {
            // A record that the run still holds was not completed, and the renewal has written its row again since.
            if with_store_timeout(store, store.renew(&entry.hold)).await? == IfOwner::Done(()) {
                return Ok(CommitStatus::NotCommitted);
            }
        } else {
            // The lease is zero, so the key is free at once, but the record stays for a while: a late commit would find
            // no record where one had been removed, as it expects.
            let hold = entry
                .hold
                .clone()
                .with_token(token)
                .with_lease(Duration::ZERO)
                .with_ttl(Duration::ZERO);
            let claimed = with_store_timeout(
                store,
                store.claim(ClaimRequest::new(&hold, &entry.fingerprint, OnLost::Refuse)),
            )
            .await?;
            if matches!(claimed, Claim::Won { .. }) {
                return Ok(CommitStatus::NotCommitted);
            }
        }
        let Some(record) = with_store_timeout(store, store.inspect(&entry.hold.id)).await? else {
            // What the claim met has gone since, so the next attempt finds the key free.
            return Err(StoreError::unavailable(
                "the key's record was removed during the check",
            ));
        };
        Ok(decision::commit_status(&entry.hold.token, record))
    }
}
