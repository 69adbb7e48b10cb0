//! Runs that write nothing before their own transaction does, which carries the key's record with it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    Begun, Ending, Executed, Idempotency, Leaves, Operation, Won,
    bounded::bounded,
    claim::{Claimed, Withdrawal},
    finish,
    finish::Held,
    running_keys::{RunningKeys, Visit},
    runs::Ticket,
    waiting::WaitingRoom,
};
use crate::{Claim, Fenced, Fingerprint, Hold, OnLost, Options, Phase, Refusal, log_text::Causes};

impl Idempotency {
    /// Takes the key within this process, unless the store has a record of it.
    pub(super) async fn begin_transaction(
        &self,
        operation: Operation,
        options: &Options,
        patience: Option<Duration>,
        ticket: Ticket,
    ) -> Result<Begun<'_>, Refusal> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut visit = RunningKeys::visit(&self.0.running_keys, &operation.id);
        // Kept from one look to the next, so that nobody who waits already is turned away.
        let mut waits = None;
        loop {
            if let Some(running) = visit.running() {
                operation.same_request(&running)?;
                let deadline = deadline.ok_or(Refusal::InProgress)?;
                if waits.is_none() {
                    waits = WaitingRoom::enter(&self.0.waiting, operation.waiter);
                }
                if waits.is_none() {
                    return Err(Refusal::InProgress);
                }
                self.wait_for(&mut visit, deadline).await?;
                continue;
            }
            let found = bounded(self.0.store.inspect(&operation.id)).await?;
            let Some(record) = found else {
                // Its transaction brings the record, and that is not refused any more.
                self.0.store.check_room(&operation.scope)?;
                let place = self.place_to_run()?;
                if visit.run(&operation.fingerprint) {
                    return Ok(Begun::Won(Won {
                        idempotency: self,
                        hold: operation.hold(options),
                        operation,
                        claim: None,
                        visit: Some(visit),
                        place: Some(place),
                        ticket,
                    }));
                }
                continue;
            };
            operation.same_request(&record.fingerprint)?;
            match record.phase {
                Phase::Completed { outcome } => {
                    return Ok(Begun::Replayed(
                        operation.replay(outcome, record.expires_at),
                    ));
                }
                // A run under a lease has left it, such as one of the service's last version. So this one goes under a
                // lease too, and its transaction ends the hold in place of writing a new record.
                Phase::InFlight { .. } if visit.run(&operation.fingerprint) => {
                    drop(waits);
                    let patience =
                        deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                    let leased =
                        self.begin_lease(operation, options, patience, Some(visit), ticket);
                    return Box::pin(leased).await;
                }
                Phase::InFlight { .. } => {}
            }
        }
    }

    /// Waits until the run that has the key has ended, if there is time for that.
    async fn wait_for(&self, visit: &mut Visit, deadline: Instant) -> Result<(), Refusal> {
        // Listen first, then look: what ends between the two is not missed.
        let mut subscription = visit.subscribe();
        if visit.running().is_none() {
            return Ok(());
        }
        tokio::select! {
            changed = timeout_at(deadline, subscription.changed()) => {
                changed.map_err(|_| Refusal::InProgress)
            }
            () = self.0.runs.closed() => Err(Refusal::ShuttingDown),
        }
    }
}

/// Ends a run that holds nothing in the store.
///
/// What its transaction has not committed has had no effect, so its answer is one only if nobody else has committed
/// under the key: a transaction that failed may have failed on that other one's rows.
pub(super) async fn finish<R>(
    idempotency: &Idempotency,
    hold: Hold,
    fingerprint: Fingerprint,
    ending: Ending<R>,
    ticket: Ticket,
) -> Fenced<Executed<R>> {
    let Ending { answer, leaves } = ending;
    let expires_at = match leaves {
        Leaves::Committed(expires_at) => Some(expires_at),
        Leaves::Other => return Fenced::Lost,
        Leaves::Unknown => None,
        Leaves::Nothing | Leaves::Steps(_) | Leaves::AfterSteps(_) => {
            match bounded(ticket.store().inspect(&hold.id)).await {
                Ok(Some(_)) => return Fenced::Lost,
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(
                        idempotency.record = %hold.id,
                        error = %Causes(&error),
                        "it cannot be read whether an equal run has committed, so the response of a run that has not is not sent",
                    );
                    // As below.
                    return Fenced::Lost;
                }
            }
        }
        Leaves::Outcome(_) => {
            // There was no record when the run began, so a hold that is there by now is another run's.
            let claimed = idempotency.claim_once(&hold, &fingerprint, OnLost::Refuse);
            match claimed.await {
                Ok(Claimed {
                    claim: Claim::Won { .. },
                    withdrawal,
                    ..
                }) => {
                    withdrawal.into_iter().for_each(Withdrawal::cancel);
                    let held = Held::new(hold, fingerprint, ticket);
                    return finish::finish(held, Ending { answer, leaves }).await;
                }
                Ok(_) => return Fenced::Lost,
                Err(error) => {
                    tracing::warn!(
                        idempotency.record = %hold.id,
                        error = %Causes(&error),
                        "a response that stands for no change could not be stored, and is not sent; a retry runs again",
                    );
                    // An equal run of another process may have committed, on whose rows this one has failed.
                    return Fenced::Lost;
                }
            }
        }
    };
    Fenced::Done(Executed { answer, expires_at })
}
