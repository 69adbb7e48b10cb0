//! One key, the requests for it, and the messages between their engines and the store.

use std::{
    hash::{Hash, Hasher},
    time::{Duration, SystemTime},
};

use idempotency::{
    __model1::Asked,
    Fingerprint,
    store::{Entry, Hold, Phase as RecordPhase, Record, RecordId, Token},
};

pub(crate) const ID: RecordId = RecordId::from_bytes([7; 32]);

/// Ticks of the clock, which are seconds.
pub(crate) const LEASE: u8 = 2;

/// No message arrives later: a released token is remembered for a lease.
pub(crate) const MAX_DELAY: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) entry: Stored,
    pub(crate) now: u8,
    /// Each request has a token of its own; the one with an even number comes to the first process, the others to the second.
    pub(crate) requests: Vec<Request>,
    /// In order, so that two worlds with the same messages are equal.
    pub(crate) network: Vec<Message>,
    pub(crate) faults: u8,
    pub(crate) crashes: u8,
    pub(crate) renewals: u8,
    /// The request whose claim the store has let win last, unless its hold has ended.
    pub(crate) owner: Option<u8>,
    /// Whether the record holds the result of the step.
    pub(crate) is_step_kept: bool,
    /// How many transactions have committed.
    pub(crate) commits: u8,
    /// A promise that was broken on the way here.
    pub(crate) broken: Option<&'static str>,
}

/// The entry, with a hash of what is public of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored(pub(crate) Entry);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) phase: Phase,
    /// Until when its engine believes in its lease.
    pub(crate) lease_until: u8,
    pub(crate) attempt: u32,
    pub(crate) has_step: bool,
    /// Whether the result of the step was kept when its claim won.
    pub(crate) follows_step: bool,
    /// Whether a copy of its claim may win when the request is over, for one lease: one that was on its way when the claim lost, or
    /// that arrives when the record with its spent token has expired.
    pub(crate) has_stray_claim: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    NotSent,
    Claiming(Op),
    /// Renews its lease before it runs.
    Refreshing,
    Running,
    /// Waits until the result of its step is kept.
    Keeping,
    Ending(Op),
    Answered(Answer),
    /// Its process died.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Executed,
    Replayed,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Op {
    Claim,
    /// The claim of a run that suspended itself, where a lost one is refused.
    ClaimSuspended,
    /// The claim of a run whose record has vanished.
    Reclaim,
    Withdraw,
    Renew,
    Checkpoint,
    Suspend,
    Complete,
    Release,
    /// A transaction that writes the record with its rows.
    Commit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Message {
    pub(crate) op: Op,
    pub(crate) from: u8,
    pub(crate) sent_at: u8,
    /// Of a reply: what it says, and when the store sent it.
    pub(crate) reply: Option<(u8, Reply)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reply {
    Run {
        attempt: u32,
        has_step: bool,
        follows_step: bool,
        is_lost: bool,
    },
    InspectLost,
    Replay,
    Refuse,
    Done,
    NotOwner,
}

impl World {
    pub(crate) fn new(requests: usize, faults: u8, crashes: u8, renewals: u8) -> Self {
        let request = Request {
            phase: Phase::NotSent,
            lease_until: 0,
            attempt: 0,
            has_step: false,
            follows_step: false,
            has_stray_claim: false,
        };
        Self {
            entry: Stored::default(),
            now: 0,
            requests: vec![request; requests],
            network: Vec::new(),
            faults,
            crashes,
            renewals,
            owner: None,
            is_step_kept: false,
            commits: 0,
            broken: None,
        }
    }

    pub(crate) fn time(&self) -> SystemTime {
        at(self.now)
    }

    pub(crate) fn record(&self) -> Option<Record> {
        self.entry.0.inspect(&ID, self.time())
    }

    pub(crate) fn send(&mut self, op: Op, from: u8) {
        self.put(Message {
            op,
            from,
            sent_at: self.now,
            reply: None,
        });
    }

    pub(crate) fn put(&mut self, message: Message) {
        let place = self.network.partition_point(|other| *other < message);
        self.network.insert(place, message);
    }

    pub(crate) fn has_message(&self, from: u8, op: Option<Op>) -> bool {
        let mut own = self.network.iter().filter(|message| message.from == from);
        own.any(|message| op.is_none_or(|op| message.op == op))
    }
}

impl Request {
    /// The call whose reply it waits for.
    pub(crate) fn awaits(&self) -> Option<Op> {
        match self.phase {
            Phase::Claiming(op) | Phase::Ending(op) => Some(op),
            Phase::Refreshing => Some(Op::Renew),
            Phase::Keeping => Some(Op::Checkpoint),
            Phase::NotSent | Phase::Running | Phase::Answered(_) | Phase::Dead => None,
        }
    }

    /// Whether its work may have effects now.
    pub(crate) fn works(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Keeping)
    }

    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Answered(_) | Phase::Dead)
    }
}

pub(crate) fn at(tick: u8) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + u64::from(tick))
}

pub(crate) fn hold(request: u8, ttl: u8) -> Hold {
    let token = Token::from_bytes([request + 1; 16]);
    let (lease, ttl) = (u64::from(LEASE), u64::from(ttl));
    Hold::new(
        ID,
        token,
        Duration::from_secs(lease),
        Duration::from_secs(ttl),
    )
}

pub(crate) fn asked() -> Asked {
    Asked::in_one_form(Fingerprint::of([b"book".as_slice()]))
}

impl Hash for Stored {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.expires_at().hash(hasher);
        self.0.spent_tokens().hash(hasher);
        let Some(record) = self.0.inspect(&ID, SystemTime::UNIX_EPOCH) else {
            return;
        };
        (record.token, record.attempt, record.created_at).hash(hasher);
        match &record.phase {
            RecordPhase::InFlight {
                lease_until,
                progress,
            } => (lease_until, progress).hash(hasher),
            RecordPhase::Completed { outcome } => outcome.hash(hasher),
            _ => {}
        }
    }
}
