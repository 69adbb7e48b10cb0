//! Claims and their withdrawals.

use std::time::SystemTime;

use bytes::Bytes;

use super::{Change, Entry, Moment, Run, State, Transition};
use crate::{
    record::Token,
    store::{Claim, ClaimRequest, Hold, OnLost, StoreError, spent::SpentTokens},
};

impl Entry {
    /// Takes the key for the token of the request's hold, or returns its state; see [`Store::claim`](crate::Store::claim).
    ///
    /// # Errors
    ///
    /// The reply is an error of the kind [`Withdrawn`](crate::store::StoreErrorKind::Withdrawn) if the token is spent.
    pub fn claim(
        &mut self,
        request: ClaimRequest<'_>,
        now: SystemTime,
    ) -> Transition<Result<Claim, StoreError>> {
        let mut change = Change::Unchanged;
        let reply = self.claim_saving(request, now.into(), |_| change = Change::Changed);
        Transition { reply, change }
    }

    /// The same, but a change is passed on, with its new expiry, before the reply is made. So a store in memory returns
    /// the reply from where it is made: each further copy would take a tenth of the time of a replay.
    pub(in crate::store) fn claim_saving(
        &mut self,
        request: ClaimRequest<'_>,
        now: Moment,
        save: impl FnOnce(Moment),
    ) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
        } = request;
        self.forget_expired(now);
        if self.is_spent(&hold.token) {
            return Err(StoreError::withdrawn());
        }
        let Some(run) = &mut self.run else {
            self.run = Some(Run::first(request, now));
            self.expires_at = now.after(hold.lease).after(hold.ttl);
            save(self.expires_at);
            return Ok(Claim::won(1, Bytes::new()));
        };
        match &mut run.state {
            State::Completed { outcome, .. } => {
                let outcome = outcome.clone();
                Ok(Claim::Completed {
                    fingerprint: run.fingerprint,
                    outcome,
                    expires_at: self.expires_at.into(),
                })
            }
            // The reply to this claim was lost, and it comes again.
            State::InFlight { progress, .. } if run.token == hold.token => Ok(Claim::Won {
                attempt: run.attempt,
                progress: progress.clone(),
            }),
            State::InFlight {
                lease_until,
                progress,
            } if lease_until.has_come(now) && run.fingerprint == *fingerprint => match on_lost {
                OnLost::TakeOver => {
                    if run.is_spent {
                        self.spent = self.spent.with(&run.token);
                    }
                    run.token = hold.token;
                    run.is_spent = false;
                    run.attempt += 1;
                    *lease_until = now.after(hold.lease);
                    self.expires_at = lease_until.after(hold.ttl);
                    save(self.expires_at);
                    Ok(Claim::Won {
                        attempt: run.attempt,
                        progress: progress.clone(),
                    })
                }
                OnLost::Refuse => Ok(Claim::Unknown {
                    fingerprint: run.fingerprint,
                }),
            },
            State::InFlight { .. } => Ok(Claim::InFlight {
                fingerprint: run.fingerprint,
            }),
        }
    }

    /// Whether this claim makes a record of a free key. A store with a limit asks before the claim, and refuses it if there is no
    /// room: [`StoreError::full`].
    #[must_use]
    pub fn needs_room(&self, request: ClaimRequest<'_>, now: SystemTime) -> bool {
        self.is_expired(now) || self.run.is_none() && !self.is_spent(&request.hold.token)
    }

    /// Undoes the claim that this token made, or may yet make; see [`Store::withdraw`](crate::Store::withdraw).
    pub fn withdraw(&mut self, hold: &Hold, now: SystemTime) -> Transition<()> {
        let now = Moment::from(now);
        self.forget_expired(now);
        if self.is_spent(&hold.token) {
            return Transition::unchanged(());
        }
        // The claim may yet arrive, perhaps after a lease, and its outcome would be stored for a ttl.
        let forgotten_at = now.after(hold.lease).after(hold.ttl);
        let Some(run) = &mut self.run else {
            self.release_token(&hold.token, forgotten_at);
            return Transition::changed(());
        };
        let is_own = run.token == hold.token;
        match &mut run.state {
            State::InFlight { progress, .. }
                if is_own && run.attempt == 1 && progress.is_empty() =>
            {
                self.release_token(&hold.token, forgotten_at);
                Transition::ended(())
            }
            State::InFlight { lease_until, .. } if is_own => {
                *lease_until = now;
                run.attempt = (run.attempt - 1).max(1);
                run.is_spent = true;
                self.expires_at = now.after(hold.ttl);
                Transition::ended(())
            }
            // The claim may yet arrive, perhaps when this run is lost or its key is free.
            State::InFlight { .. } => {
                self.spent = self.spent.with(&hold.token);
                Transition::changed(())
            }
            State::Completed { .. } => Transition::unchanged(()),
        }
    }

    fn forget_expired(&mut self, now: Moment) {
        if self.has_expired(now) {
            self.run = None;
            self.spent = SpentTokens::default();
        }
    }

    /// Whether a claim by this token takes nothing any more.
    fn is_spent(&self, token: &Token) -> bool {
        let own = self.run.as_ref().filter(|run| run.is_spent);
        own.is_some_and(|run| run.token == *token) || self.spent.contains(token)
    }
}

impl Run {
    fn first(request: ClaimRequest<'_>, now: Moment) -> Self {
        Self {
            fingerprint: *request.fingerprint,
            token: request.hold.token,
            is_spent: false,
            attempt: 1,
            state: State::InFlight {
                lease_until: now.after(request.hold.lease),
                progress: Bytes::new(),
            },
            created_at: Some(now),
            labels: request.hold.labels.clone(),
        }
    }
}
