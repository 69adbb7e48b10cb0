//! What the store does with a message, by the library's transitions.

use std::fmt;

use bytes::Bytes;
use idempotency::{
    __model1::{AfterClaim, Predecessor, Progress, after_claim, predecessor},
    OnLost,
    store::{Change, Claim, ClaimRequest, Hold, IfOwner, Transition},
};

use crate::{
    config::Config,
    world::{ID, MAX_DELAY, Op, Reply, World, asked, at, hold},
};

const STEP: &str = "charge";

impl World {
    /// Takes the step, and returns what the store replies.
    pub(crate) fn apply(&mut self, config: &Config, op: Op, from: u8) -> Reply {
        let (hold, now) = (hold(from, config.ttl), self.time());
        let attempt = self
            .requests
            .get(usize::from(from))
            .map_or(1, |it| it.attempt);
        let rules = &config.rules;
        let entry = &mut self.entry.0;
        match op {
            Op::Claim => self.claim(config, &hold, from, config.on_lost),
            Op::ClaimSuspended => self.claim(config, &hold, from, OnLost::TakeOver),
            Op::Reclaim => match self.record() {
                Some(_) => Reply::Refuse,
                None => self.claim(config, &hold, from, OnLost::Refuse),
            },
            Op::Withdraw => {
                // A token that is spent beside the record of another run is forgotten with that record.
                let found = entry.inspect(&ID, now);
                let is_forgotten = found.is_some_and(|record| {
                    record.token != hold.token && record.expires_at <= at(self.now + MAX_DELAY)
                });
                if let Some(request) = self.requests.get_mut(usize::from(from)) {
                    request.has_stray_claim |= is_forgotten;
                }
                if (rules.withdraw)(entry, &hold, now).change == Change::Ended {
                    self.ends_hold_of(from);
                }
                Reply::Done
            }
            Op::Renew => {
                let done = (rules.renew)(entry, &hold, now);
                self.owned(from, &done)
            }
            Op::Checkpoint => {
                let done = (rules.checkpoint)(entry, &hold, progress(0, true), now);
                self.is_step_kept |= done.change != Change::Unchanged;
                self.owned(from, &done)
            }
            Op::Suspend => {
                let done = (rules.suspend)(entry, &hold, progress(attempt, true), now);
                self.owned(from, &done)
            }
            Op::Complete => {
                let done = (rules.complete)(entry, &hold, Bytes::from_static(b"booked"), now);
                self.owned(from, &done)
            }
            Op::Release => {
                let done = (rules.release)(entry, &hold, now);
                self.is_step_kept &= done.change == Change::Unchanged;
                self.owned(from, &done)
            }
            Op::Commit => self.commit(config, &hold, from),
        }
    }

    fn claim(&mut self, config: &Config, hold: &Hold, from: u8, on_lost: OnLost) -> Reply {
        let (asked, now) = (asked(), self.time());
        let was_step_kept = self.is_step_kept && self.record().is_some();
        let request = ClaimRequest::new(hold, &asked.fingerprint, on_lost);
        let claimed = (config.rules.claim)(&mut self.entry.0, request, now);
        if claimed.change != Change::Unchanged {
            self.owner = Some(from);
            self.is_step_kept = was_step_kept;
        }
        let Ok(claim) = claimed.reply else {
            return Reply::Refuse;
        };
        match after_claim(&asked, claim) {
            AfterClaim::Run { attempt, progress } => {
                let progress = Progress::read(progress).expect("the model's own steps");
                Reply::Run {
                    attempt,
                    has_step: progress.get(STEP).is_some(),
                    follows_step: was_step_kept,
                    is_lost: predecessor(attempt, &progress) == Predecessor::Lost,
                }
            }
            AfterClaim::InspectLost => Reply::InspectLost,
            AfterClaim::Replay { .. } => Reply::Replay,
            AfterClaim::Refuse(_) | AfterClaim::ClaimInForm(_) => Reply::Refuse,
        }
    }

    /// The rows and the completed record are one commit, which fails if there is another record.
    fn commit(&mut self, config: &Config, hold: &Hold, from: u8) -> Reply {
        let (asked, now) = (asked(), self.time());
        let request = ClaimRequest::new(hold, &asked.fingerprint, OnLost::Refuse);
        let mut entry = self.entry.0.clone();
        let claimed = (config.rules.claim)(&mut entry, request, now);
        let is_free = matches!(claimed.reply, Ok(Claim::Won { attempt: 1, .. }))
            && claimed.change == Change::Changed;
        if is_free {
            let _ = (config.rules.complete)(&mut entry, hold, Bytes::from_static(b"booked"), now);
            self.entry.0 = entry;
        } else if config.rules.commit_is_unique {
            return Reply::NotOwner;
        }
        self.owner = Some(from);
        self.commits += 1;
        Reply::Done
    }

    fn owned<T: fmt::Debug>(&mut self, from: u8, done: &Transition<IfOwner<T>>) -> Reply {
        if done.change != Change::Unchanged && self.owner != Some(from) {
            self.broken = Some("a run that lost its key changed the record");
        }
        if done.change == Change::Ended {
            self.ends_hold_of(from);
        }
        match &done.reply {
            IfOwner::Done(_) => Reply::Done,
            IfOwner::NotOwner => Reply::NotOwner,
            other => unreachable!("no step replies {other:?}"),
        }
    }

    fn ends_hold_of(&mut self, from: u8) {
        if self.owner.is_some_and(|owner| owner != from) {
            self.broken = Some("a run ended the hold of another one");
        }
        self.owner = None;
    }
}

/// The bytes of a run with this step, suspended if it has the number of an attempt.
fn progress(suspended: u32, has_step: bool) -> Bytes {
    let mut progress = Progress::default();
    if has_step {
        progress.push(STEP, Bytes::from_static(b"charged"));
    }
    match suspended {
        0 => progress.write(),
        attempt => progress.suspended_by(attempt),
    }
}
