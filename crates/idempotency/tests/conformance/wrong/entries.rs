//! A store of entries, as one would write it, with at most one fault.

use std::{
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint,
    conformance::TestStore,
    store::{Change, Entry, Hold, Phase, Record, RecordId, StoreError, Token, Transition, Wakeups},
};
use parking_lot::Mutex;
use tokio::task::yield_now;

use super::{
    fault::Fault,
    spoiled::{Call, Verb, after, before, forget, forgets_after, is_in_two_steps},
};

/// Longer than the outcomes of the functions, but for those that are as long as the limit.
pub(super) const LIMIT: usize = 100_000;

#[derive(Debug)]
pub(super) struct Entries {
    pub(super) fault: Option<Fault>,
    pub(super) entries: Mutex<BTreeMap<RecordId, Entry>>,
    /// From when on a fault has forgotten that these tokens are spent.
    forgotten: Mutex<HashMap<Token, SystemTime>>,
    /// Progress that a fault does not remove.
    pub(super) left_behind: Mutex<HashMap<RecordId, Bytes>>,
    pub(super) clock: Clock,
    opened_at: SystemTime,
    pub(super) wakeups: Wakeups,
}

impl Entries {
    pub(super) fn new(fault: Option<Fault>, clock: Clock) -> Self {
        Self {
            fault,
            entries: Mutex::default(),
            forgotten: Mutex::default(),
            left_behind: Mutex::default(),
            opened_at: clock.now(),
            clock,
            wakeups: Wakeups::default(),
        }
    }

    pub(super) fn open(fault: Option<Fault>) -> TestStore {
        let clock = Clock::manual();
        TestStore::new(Self::new(fault, clock.clone()), move |time| {
            clock.advance(time);
        })
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn id(&self, id: &RecordId) -> RecordId {
        match self.fault {
            Some(Fault::IgnoresTheCaseOfIds) => {
                RecordId::from_bytes(id.as_bytes().map(|byte| byte.to_ascii_lowercase()))
            }
            _ => *id,
        }
    }

    /// One step of a verb. It is atomic unless it yields, because these stores are used by one thread.
    pub(super) async fn step<T>(
        &self,
        verb: Verb,
        hold: &Hold,
        step: impl FnOnce(&mut Entry, &Hold, SystemTime) -> Transition<T>,
    ) -> T {
        let (hold, now) = (hold.clone(), self.clock.now());
        let mut call = Call { verb, hold, now };
        call.hold.id = self.id(&call.hold.id);
        let id = call.hold.id;
        let earlier = self.entries.lock().get(&id).cloned().unwrap_or_default();
        let mut entry = earlier.clone();
        let forgotten_at = self.forgotten.lock().get(&call.hold.token).copied();
        if verb == Verb::Claim && forgotten_at.is_some_and(|at| at <= now) {
            forget(&mut entry, &id, &call.hold.token);
        }
        let mut is_written_late = false;
        if let Some(fault) = self.fault {
            is_written_late = is_in_two_steps(fault, &call, &entry);
            before(fault, &mut call, &mut entry);
        }
        let Transition { reply, change, .. } = step(&mut entry, &call.hold, call.now);
        if let Some(fault) = self.fault {
            after(fault, &call, &earlier, &mut entry);
            if let Some(time) = forgets_after(fault, &call, &earlier) {
                self.forgotten.lock().insert(call.hold.token, now + time);
            }
        }
        if is_written_late {
            // Every other task takes a step meanwhile, in whichever order they go on.
            for _ in 0..3 {
                yield_now().await;
            }
        }
        let always =
            self.has(Fault::RenewsBeforeItCompares) || self.has(Fault::ExtendsTheTtlByAReplay);
        if change != Change::Unchanged || always {
            self.entries.lock().insert(id, entry);
        }
        if change == Change::Ended || self.has(Fault::WakesForStrangers) {
            self.wake(verb, &id);
        }
        reply
    }

    fn wake(&self, verb: Verb, id: &RecordId) {
        match (self.fault, verb) {
            (Some(Fault::WakesNobodyAtACompletion), Verb::Complete)
            | (Some(Fault::WakesNobodyAtARelease), Verb::Release)
            | (Some(Fault::WakesNobodyAtASuspension), Verb::Suspend)
            | (Some(Fault::WakesNobodyAtAWithdrawal), Verb::Withdraw)
            | (Some(Fault::WakesNobodyAtAResolution), Verb::Resolve) => {}
            (Some(Fault::WakesEveryone), _) => {
                self.entries
                    .lock()
                    .keys()
                    .for_each(|id| self.wakeups.wake(id));
            }
            _ => self.wakeups.wake(id),
        }
    }

    /// These bytes as they are stored.
    pub(super) fn kept(
        &self,
        bytes: Bytes,
        longer: Fault,
        cuts: Fault,
    ) -> Result<Bytes, StoreError> {
        if bytes.len() > LIMIT && !self.has(longer) {
            return Err(StoreError::too_large("longer than the limit"));
        }
        let kept = match self.has(cuts) {
            true => bytes.slice(..bytes.len().min(LIMIT / 2)),
            false => bytes,
        };
        Ok(kept)
    }

    pub(super) fn outcome(&self, outcome: Bytes) -> Result<Bytes, StoreError> {
        self.kept(outcome, Fault::TakesLongerOutcomes, Fault::CutsOutcomes)
    }

    pub(super) fn progress(&self, id: &RecordId, progress: Bytes) -> Result<Bytes, StoreError> {
        let kept = self.kept(progress, Fault::TakesLongerProgress, Fault::CutsProgress)?;
        self.left_behind.lock().insert(*id, kept.clone());
        let entries = self.entries.lock();
        let found = entries
            .get(id)
            .and_then(|entry| entry.inspect(id, self.clock.now()));
        match found.map(|record| record.phase) {
            Some(Phase::InFlight { progress, .. }) if self.has(Fault::AppendsProgress) => {
                Ok([progress, kept].concat().into())
            }
            _ => Ok(kept),
        }
    }

    /// What an operator sees under this id.
    pub(super) fn shown(
        &self,
        id: &RecordId,
        entry: &Entry,
        expired: Fault,
        free: Fault,
    ) -> Option<Record> {
        let now = match self.fault {
            Some(fault) if fault == expired => SystemTime::UNIX_EPOCH,
            Some(Fault::ReadsAnotherClock) => self.opened_at,
            _ => self.clock.now(),
        };
        let spent = entry.spent_tokens().first().copied();
        let free = spent
            .filter(|_| self.has(free) && !entry.is_expired(now))
            .map(|token| {
                let (lease_until, progress) = (entry.expires_at(), Bytes::new());
                let phase = Phase::InFlight {
                    lease_until,
                    progress,
                };
                let asked = Fingerprint::of([b"nothing".as_slice()]);
                Record::new(*id, asked, token, 1, lease_until, phase)
            });
        entry.inspect(id, now).or(free)
    }
}
