//! The statements of a claim after the first.

use sqlx::{postgres::PgRow, query};

use super::{
    PostgresStore, Shared, being_written,
    connections::{Attempt, Retry, Statement},
    error::store_error,
    records::{self, microseconds},
    statements,
};
use crate::{
    Fingerprint, OnLost,
    record::{RecordId, Token},
    store::{Claim, Hold, StoreError, lane::Attempt as _},
};

impl PostgresStore {
    /// Takes over the key. Returns `None` if it can no longer be taken over.
    pub(super) async fn take_over(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Option<Claim>, StoreError> {
        let rows = self.step_of_claim(Attempt::first(), hold, || {
            query(statements::TAKE_OVER)
                .bind(hold.id.as_bytes())
                .bind(fingerprint.as_bytes())
                .bind(hold.token.as_bytes())
                .bind(microseconds(hold.lease))
                .bind(microseconds(hold.ttl))
                .bind(on_lost == OnLost::TakeOver)
                .bind(hold.labels.route())
                .bind(hold.labels.label())
        });
        let Some(taken) = rows.await? else {
            return Ok(Some(being_written(fingerprint)));
        };
        let won = taken.first().map(records::won);
        let won = won.transpose().map_err(store_error)?;
        if won.is_some() {
            self.before_run().await;
        }
        Ok(won)
    }

    /// Reads what a transaction of the run will need.
    pub(super) async fn before_run(&self) {
        let Shared {
            connections,
            identity,
            ..
        } = self.0.as_ref();
        identity.read_before_runs(connections).await;
    }

    /// The rows of a step of this claim, or `None` if another session is in the middle of a step on the key.
    pub(super) async fn step_of_claim<'q>(
        &self,
        attempt: Attempt,
        hold: &Hold,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Option<Vec<PgRow>>, StoreError> {
        let connections = &self.0.connections;
        if hold.lease.is_zero() {
            let rows = connections.run_on(attempt, Retry::Always, statement);
            rows.await.map(Some)
        } else {
            connections.run_unless_locked(attempt, statement).await
        }
    }

    /// Asks to be notified of this hold's end. Returns false if it has already ended. If another session is in the
    /// middle of a step on the hold, this does nothing, and the waiter polls.
    pub(super) async fn await_end(&self, id: &RecordId, owner: &Token) -> Result<bool, StoreError> {
        let rows = self.0.connections.run_unless_locked(Attempt::first(), || {
            query(statements::AWAIT)
                .bind(id.as_bytes())
                .bind(owner.as_bytes())
        });
        Ok(rows.await?.is_none_or(|rows| !rows.is_empty()))
    }
}
