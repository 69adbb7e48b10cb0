//! What the owner of a hold does with it, and what an operator does.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotency::store::{Hold, IfOwner, Labels, Phase, Resolution, SPENT_FOR, Token};

use crate::entry::{Entry, later};

impl Entry {
    pub(crate) fn renew(&mut self, hold: &Hold, now: SystemTime) -> IfOwner<()> {
        let Some((lease_until, _)) = self.hold_of(&hold.token) else {
            return IfOwner::NotOwner;
        };
        *lease_until = later(now, hold.lease);
        self.ends = later(*lease_until, hold.ttl);
        IfOwner::Done(())
    }

    /// Progress that is shorter than what is kept is of an earlier time, and changes nothing.
    pub(crate) fn checkpoint(&mut self, token: &Token, progress: Bytes) -> IfOwner<()> {
        let Some((_, kept)) = self.hold_of(token) else {
            return IfOwner::NotOwner;
        };
        if progress.len() >= kept.len() {
            *kept = progress;
        }
        IfOwner::Done(())
    }

    pub(crate) fn suspend(&mut self, hold: &Hold, progress: Bytes, now: SystemTime) -> IfOwner<()> {
        if self.is_suspended_by(&hold.token) {
            return IfOwner::Done(());
        }
        if self.checkpoint(&hold.token, progress) == IfOwner::NotOwner {
            return IfOwner::NotOwner;
        }
        if let Some((lease_until, _)) = self.hold_of(&hold.token) {
            *lease_until = now;
        }
        self.ends = later(now, hold.ttl);
        self.spend(hold.token);
        IfOwner::Done(())
    }

    pub(crate) fn complete(
        &mut self,
        hold: &Hold,
        outcome: Bytes,
        now: SystemTime,
    ) -> IfOwner<SystemTime> {
        if self.hold_of(&hold.token).is_some() {
            self.keep(hold.token, outcome, now, hold.ttl);
        }
        // Also where this token completed the record before, and the reply was lost.
        match &self.record {
            Some(record) if record.token == hold.token && is_completed(&record.phase) => {
                IfOwner::Done(self.ends)
            }
            _ => IfOwner::NotOwner,
        }
    }

    pub(crate) fn release(&mut self, hold: &Hold, now: SystemTime) -> IfOwner<()> {
        if self.hold_of(&hold.token).is_none() {
            return IfOwner::NotOwner;
        }
        self.free(hold.token, later(now, hold.lease));
        IfOwner::Done(())
    }

    pub(crate) fn resolve(
        &mut self,
        seen: &Token,
        resolution: Resolution,
        now: SystemTime,
    ) -> IfOwner<()> {
        let Some(record) = self.record.as_mut().filter(|found| found.token == *seen) else {
            return IfOwner::NotOwner;
        };
        match (resolution, is_completed(&record.phase)) {
            // The token is spent: a claim or a completion by that run may come late.
            (Resolution::Release, false) | (Resolution::Forget, true) => {
                self.free(*seen, later(now, SPENT_FOR));
            }
            // A new token: the owner that was given up can complete nothing any more.
            (Resolution::Complete { outcome, ttl }, false) => {
                self.keep(Token::random(), outcome, now, ttl);
            }
            (Resolution::Replace { outcome }, true) => record.phase = Phase::Completed { outcome },
            (Resolution::Erase { outcome }, true) => {
                record.phase = Phase::Completed { outcome };
                record.labels = Labels::new(record.labels.route(), None);
            }
            _ => return IfOwner::NotOwner,
        }
        IfOwner::Done(())
    }

    fn keep(&mut self, token: Token, outcome: Bytes, now: SystemTime, ttl: Duration) {
        if let Some(record) = &mut self.record {
            record.token = token;
            record.completed_at = Some(now);
            record.phase = Phase::Completed { outcome };
        }
        self.spent.clear();
        self.ends = later(now, ttl);
    }

    /// Whether this token has suspended its run, or has lost it by a withdrawal.
    fn is_suspended_by(&self, token: &Token) -> bool {
        let is_spent = self.spent.contains(token);
        let record = self.record.as_ref();
        is_spent && record.is_some_and(|found| found.token == *token && !is_completed(&found.phase))
    }
}

fn is_completed(phase: &Phase) -> bool {
    matches!(phase, Phase::Completed { .. })
}
