//! What has become of a transaction whose end was not heard of.

use std::time::Duration;

use super::{Idempotency, decision, store_timeout::with_store_timeout};
use crate::{
    OnLost, StoreError,
    record::Token,
    store::transaction::PendingRecord,
    store::{Claim, ClaimRequest, IfOwner},
};

/// Where the key of such a transaction stands.
pub(crate) enum CommitStatus {
    /// The transaction was committed.
    Committed,
    /// It was not, and never will be: somebody else has the key.
    Superseded,
    /// It was not, and never will be.
    NotCommitted,
}

/// Between the looks, for as long as the store gives no answer.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

/// For all the looks together. Their client waits.
const TIMEOUT: Duration = Duration::from_secs(8);

impl Idempotency {
    /// Looks at the record that the transaction would have written, after a step that the transaction, where it still
    /// goes on, either lets wait or cannot come behind.
    pub(crate) async fn resolve_commit(
        &self,
        entry: &PendingRecord,
    ) -> Result<CommitStatus, StoreError> {
        // One for all looks: one whose response was lost must not be taken for another run by the next.
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
            // A record that is still the hold's has not been completed, and its row has been written again since.
            if with_store_timeout(store, store.renew(&entry.hold)).await? == IfOwner::Done(()) {
                return Ok(CommitStatus::NotCommitted);
            }
        } else {
            // It is over at once, so that the key is free for everybody, and its record stays for a while: behind a
            // record that was removed a late commit would find nothing there, as it expects.
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
            // What the step has met has gone since, so the next look finds the key free.
            return Err(StoreError::unavailable("the key's record has just gone"));
        };
        Ok(decision::commit_status(&entry.hold.token, &record))
    }
}
