//! What the owner of a hold does with it: each step compares the token.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{Entry, Moment, State, Transition};
use crate::{
    record::Token,
    store::{Hold, IfOwner, spent::SpentTokens},
};

impl Entry {
    /// Extends the hold by its lease from now; see [`Store::renew`](crate::Store::renew).
    pub fn renew(&mut self, hold: &Hold, now: SystemTime) -> Transition<IfOwner<()>> {
        let now = Moment::from(now);
        let Some((lease_until, _)) = self.hold_of(&hold.token, now) else {
            return Transition::unchanged(IfOwner::NotOwner);
        };
        let renewed = now.after(hold.lease);
        *lease_until = renewed;
        self.expires_at = renewed.after(hold.ttl);
        Transition::changed(IfOwner::Done(()))
    }

    /// Stores what the run has done so far; see [`Store::checkpoint`](crate::Store::checkpoint).
    pub fn checkpoint(
        &mut self,
        hold: &Hold,
        progress: Bytes,
        now: SystemTime,
    ) -> Transition<IfOwner<()>> {
        let Some((_, kept)) = self.hold_of(&hold.token, now.into()) else {
            return Transition::unchanged(IfOwner::NotOwner);
        };
        // A shorter one is of an earlier time.
        if progress.len() < kept.len() {
            return Transition::unchanged(IfOwner::Done(()));
        }
        *kept = progress;
        Transition::changed(IfOwner::Done(()))
    }

    /// Ends the hold and stores the run's progress, for the next claim; see [`Store::suspend`](crate::Store::suspend).
    pub fn suspend(
        &mut self,
        hold: &Hold,
        progress: Bytes,
        now: SystemTime,
    ) -> Transition<IfOwner<()>> {
        let now = Moment::from(now);
        if self.is_suspended_by(&hold.token, now) {
            // The same owner repeats a call that was done but whose reply was lost.
            return Transition::unchanged(IfOwner::Done(()));
        }
        let Some((lease_until, kept)) = self.hold_of(&hold.token, now) else {
            return Transition::unchanged(IfOwner::NotOwner);
        };
        *lease_until = now;
        if progress.len() >= kept.len() {
            *kept = progress;
        }
        if let Some(run) = &mut self.run {
            run.is_spent = true;
        }
        self.expires_at = now.after(hold.ttl);
        Transition::ended(IfOwner::Done(()))
    }

    /// Ends the hold with an outcome, and replies when that expires; see [`Store::complete`](crate::Store::complete).
    pub fn complete(
        &mut self,
        hold: &Hold,
        outcome: Bytes,
        now: SystemTime,
    ) -> Transition<IfOwner<SystemTime>> {
        let now = Moment::from(now);
        if self.hold_of(&hold.token, now).is_some() {
            self.complete_as(hold.token, outcome, now, hold.ttl);
            return Transition::ended(IfOwner::Done(self.expires_at()));
        }
        // The same owner repeats a completion that was done but whose reply was lost.
        let own = self.run.as_ref().filter(|run| run.token == hold.token);
        let reply = match own.map(|run| &run.state) {
            Some(State::Completed { .. }) if !self.has_expired(now) => {
                IfOwner::Done(self.expires_at())
            }
            _ => IfOwner::NotOwner,
        };
        Transition::unchanged(reply)
    }

    /// Ends the hold without an outcome: the key is free again; see [`Store::release`](crate::Store::release).
    pub fn release(&mut self, hold: &Hold, now: SystemTime) -> Transition<IfOwner<()>> {
        let now = Moment::from(now);
        if self.hold_of(&hold.token, now).is_none() {
            return Transition::unchanged(IfOwner::NotOwner);
        }
        self.release_token(&hold.token, now.after(hold.lease));
        Transition::ended(IfOwner::Done(()))
    }

    /// The end of the lease and the progress of the hold, if it is this token's. It stays that also after the lease has lapsed, until
    /// another claim takes over.
    fn hold_of(&mut self, token: &Token, now: Moment) -> Option<(&mut Moment, &mut Bytes)> {
        if self.has_expired(now) {
            return None;
        }
        let run = self.run.as_mut()?;
        match &mut run.state {
            State::InFlight {
                lease_until,
                progress,
            } if run.token == *token && !run.is_spent => Some((lease_until, progress)),
            _ => None,
        }
    }

    fn is_suspended_by(&self, token: &Token, now: Moment) -> bool {
        let run = self.run.as_ref().filter(|_| !self.has_expired(now));
        run.is_some_and(|run| {
            run.is_spent && run.token == *token && matches!(run.state, State::InFlight { .. })
        })
    }

    /// Stores an outcome. No token of the key is spent any more, because none can take it.
    pub(super) fn complete_as(&mut self, token: Token, outcome: Bytes, now: Moment, ttl: Duration) {
        if let Some(run) = &mut self.run {
            run.token = token;
            run.is_spent = false;
            run.state = State::Completed {
                at: Some(now),
                outcome,
            };
        }
        self.spent = SpentTokens::default();
        self.expires_at = now.after(ttl);
    }
}
