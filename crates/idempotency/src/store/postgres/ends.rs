//! The ends of a hold without an outcome, and how waiters in this process learn of an end.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use sqlx::{postgres::PgRow, query};

use super::{
    PostgresStore,
    connections::Retry,
    records::{fenced, microseconds},
    statements,
};
use crate::{
    Fingerprint,
    record::{RecordId, Token},
    store::{Hold, IfOwner, StoreError},
};

impl PostgresStore {
    /// Undoes what the claim took, or may yet take.
    pub(super) async fn withdraw_claim(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<(), StoreError> {
        let times_sent = AtomicUsize::new(0);
        let rows = self.0.connections.run(Retry::Always, || {
            times_sent.fetch_add(1, Ordering::Relaxed);
            query(statements::WITHDRAW)
                .bind(hold.id.as_bytes())
                .bind(fingerprint.as_bytes())
                .bind(hold.token.as_bytes())
                .bind(microseconds(hold.lease))
                .bind(microseconds(hold.ttl))
        });
        let has_ended = self.ended(&hold.id, &rows.await?) == IfOwner::Done(());
        // A repetition after a lost reply changes nothing, although the first try may have ended the hold.
        if !has_ended && times_sent.into_inner() > 1 {
            self.0.wakeups.wake(&hold.id);
        }
        Ok(())
    }

    /// Ends the hold without an outcome, and remembers for this long that its token is spent.
    pub(super) async fn release_as(
        &self,
        id: &RecordId,
        owner: &Token,
        spent_for: Duration,
        is_operator: bool,
    ) -> Result<IfOwner<()>, StoreError> {
        // A repetition after a lost reply may find its own mark.
        let was_sent = AtomicBool::new(false);
        let rows = self.0.connections.run(Retry::Always, || {
            query(statements::RELEASE)
                .bind(id.as_bytes())
                .bind(owner.as_bytes())
                .bind(microseconds(spent_for))
                .bind(is_operator)
                .bind(was_sent.swap(true, Ordering::Relaxed))
        });
        Ok(self.ended(id, &rows.await?))
    }

    /// The result of a statement that matches only the owner's token.
    pub(super) fn ended(&self, id: &RecordId, rows: &[PgRow]) -> IfOwner<()> {
        let fenced = fenced(rows);
        if fenced == IfOwner::Done(()) {
            self.0.wakeups.wake(id);
        }
        fenced
    }
}
