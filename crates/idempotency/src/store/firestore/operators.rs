//! Listing records for operators, and changing completed ones.

use super::{
    FirestoreStore, MAX_OUTCOME,
    change::{Base, Change},
    document::{self, Found},
    owner::may_be_taken,
    query,
    step::{Look, Next},
    unavailable,
};
use crate::{
    record::{RecordId, Token},
    store::{
        IfOwner, ListRequest, Listed, SPENT_FOR, StoreError, check_length, spent::SpentTokens,
    },
};

impl FirestoreStore {
    pub(super) async fn listed(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let mut after = request.after.as_ref().map(|id| self.name(id));
        let mut listed = Vec::new();
        let mut wanted = query::MAX_LISTED.min(request.limit);
        while listed.len() < request.limit {
            let query = query::behind(after.clone(), wanted);
            let (page, now) = self.database.0.query(query).await.map_err(unavailable)?;
            let is_last = page.len() < wanted;
            for document in page {
                after = Some(document.name.clone());
                // A document with another name is not a record.
                let Some(id) = document::record_id(&document.name) else {
                    continue;
                };
                match Found::read(&id, document) {
                    Ok(found) => {
                        let is_living = found.record.expires_at > now && !found.is_free();
                        if is_living && request.matches(&found.record, now) {
                            listed.push(found.record.into());
                        }
                    }
                    Err(error) => listed.push(Listed::unreadable(id, error)),
                }
            }
            if is_last {
                break;
            }
            // If the first page held too few matching records, they may be rare.
            wanted = query::MAX_LISTED;
        }
        listed.truncate(request.limit);
        Ok(listed)
    }

    /// Replaces the outcome of a completed run. An erasure removes its label, too.
    pub(super) async fn replace(
        &self,
        id: &RecordId,
        seen: &Token,
        change: Change,
    ) -> Result<IfOwner<()>, StoreError> {
        if let Change::Replace { outcome } | Change::Erase { outcome } = &change {
            check_length(outcome, MAX_OUTCOME)?;
        }
        self.correct(id, seen, change).await
    }

    /// Frees the key of a completed run. The document stays, so that a late commit that expects none finds one.
    pub(super) async fn forget(
        &self,
        id: &RecordId,
        seen: &Token,
    ) -> Result<IfOwner<()>, StoreError> {
        let change = Change::Free {
            token: *seen,
            spent: SpentTokens::default(),
            fingerprint: None,
            spent_for: SPENT_FOR,
        };
        self.correct(id, seen, change).await
    }

    /// Changes the record of a completed run. The cache does not tell that a run is completed, so this reads first.
    async fn correct(
        &self,
        id: &RecordId,
        seen: &Token,
        change: Change,
    ) -> Result<IfOwner<()>, StoreError> {
        let forgets = matches!(change, Change::Free { .. });
        let decide = |look: Look| {
            let tried = look.tried;
            match look.living() {
                Some(found) if found.is_completed_by(seen) => {
                    Next::Change(Base::UpdatedAt(found.update_time), change.clone())
                }
                // It existed when this call began, and this call asked for its removal.
                None if tried && forgets => Next::Answer(Ok(IfOwner::Done(()))),
                // What the first try wrote may be gone again.
                _ if tried => Next::Answer(Err(may_be_taken())),
                _ => Next::Answer(Ok(IfOwner::NotOwner)),
            }
        };
        let made = |_: &Change, _| Ok(IfOwner::Done(()));
        self.step(id, None, decide, made).await?
    }
}
