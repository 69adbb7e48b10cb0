//! What has become of a transaction whose end was not heard of.

use std::time::Duration;

use super::{Idempotency, bounded::bounded};
use crate::{Claim, Fenced, Hold, OnLost, Phase, StoreError, Token, store::transaction::Entry};

/// Where the key of such a transaction stands.
pub(crate) enum Standing {
    /// The transaction was committed.
    Own,
    /// It was not, and never will be: somebody else has the key.
    Lost,
    /// It was not, and never will be.
    Free,
}

/// Between the looks, for as long as the store gives no answer.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_secs(1),
];

impl Idempotency {
    /// Looks at the record that the transaction would have written, after a step that the transaction, where it still
    /// goes on, either lets wait or cannot come behind.
    pub(crate) async fn standing(&self, entry: &Entry) -> Result<Standing, StoreError> {
        let mut standing = self.look(entry).await;
        for pause in PAUSES {
            if standing.is_err() {
                tokio::time::sleep(pause).await;
                standing = self.look(entry).await;
            }
        }
        standing
    }

    async fn look(&self, entry: &Entry) -> Result<Standing, StoreError> {
        let store = &self.0.store;
        if entry.is_held {
            // A record that is still the hold's has not been completed, and its row has been written again since.
            if bounded(store.renew(&entry.hold)).await? == Fenced::Done(()) {
                return Ok(Standing::Free);
            }
        } else {
            // It is over at once, so that the key is free for everybody, and its record stays for a while: behind a
            // record that was removed a late commit would find nothing there, as it expects.
            let hold = Hold {
                token: Token::random(),
                lease: Duration::ZERO,
                ttl: Duration::ZERO,
                ..entry.hold.clone()
            };
            let claimed = bounded(store.claim(&hold, &entry.fingerprint, OnLost::Refuse)).await?;
            if matches!(claimed, Claim::Won { .. }) {
                return Ok(Standing::Free);
            }
        }
        let found = bounded(store.inspect(&entry.hold.id)).await?;
        match found {
            Some(record)
                if record.token == entry.hold.token
                    && matches!(record.phase, Phase::Completed { .. }) =>
            {
                Ok(Standing::Own)
            }
            // Somebody is writing the record, and it may be this transaction.
            None if !entry.is_held => Err(StoreError::unavailable("the record is being written")),
            _ => Ok(Standing::Lost),
        }
    }
}
