//! One key as every store has to have it: the library's own transitions, applied to one entry.

use std::time::{Duration, SystemTime};

use idempotency::store::{
    Claim, ClaimRequest, Entry, IfOwner, ListRequest, Listed, Phase, Record, RecordId, Token,
    Transition,
};

use crate::call::{Call, How, Reply, UNIT, Verb, bytes, fingerprint, token};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    id: RecordId,
    entry: Entry,
    now: SystemTime,
    /// How many tokens were made for operators.
    made: u8,
    names: Names,
    /// All tokens that were ever spent, if a store may remember them for longer than it has to.
    spent: Option<Vec<Token>>,
}

/// Which token of the store is which one of the reference: an operator's completion gives the record a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(Vec<(Token, Token)>);

/// How far two times of one event may be apart: less than what any two leases and ttls differ by.
const TOLERANCE: Duration = Duration::from_secs(200);

/// The first byte of tokens that the reference makes. Owners have lower ones.
const MADE: u8 = 0xe0;

impl Reference {
    /// A key for which nothing is stored.
    pub(crate) fn new(id: RecordId, now: SystemTime) -> Self {
        Self {
            id,
            entry: Entry::default(),
            now,
            made: 0,
            names: Names::default(),
            spent: None,
        }
    }

    /// The same for a store that may remember spent tokens for longer than it has to.
    pub(crate) fn remembering(mut self) -> Self {
        self.spent = Some(Vec::new());
        self
    }

    pub(crate) const fn id(&self) -> RecordId {
        self.id
    }

    pub(crate) const fn now(&self) -> SystemTime {
        self.now
    }

    /// The owner of the record, unless an operator gave it another token.
    pub(crate) fn owner(&self) -> Option<u8> {
        let first = self.record()?.token.as_bytes()[0];
        (first < MADE).then(|| first - 1)
    }

    pub(crate) fn advance(&mut self, units: u8) {
        self.now += UNIT * u32::from(units);
    }

    pub(crate) fn record(&self) -> Option<Record> {
        self.entry.inspect(&self.id, self.now)
    }

    /// Takes the step, and returns the reply.
    pub(crate) fn apply(&mut self, call: &Call, inspected: Option<Token>) -> Reply {
        let reply = self.step(call, inspected);
        if let Some(spent) = &mut self.spent {
            let mut tokens = self.entry.spent_tokens();
            tokens.retain(|token| !spent.contains(token));
            spent.append(&mut tokens);
        }
        reply
    }

    fn step(&mut self, call: &Call, inspected: Option<Token>) -> Reply {
        let (hold, now) = (call.hold(self.id), self.now);
        let entry = &mut self.entry;
        match &call.verb {
            Verb::Claim { request, on_lost } => {
                let fingerprint = fingerprint(*request);
                let request = ClaimRequest::new(&hold, &fingerprint, *on_lost);
                match entry.claim(request, now).reply {
                    Ok(claim) => Reply::Claim(claim),
                    Err(_) => Reply::Spent,
                }
            }
            Verb::Withdraw { .. } => {
                let Transition { reply: (), .. } = entry.withdraw(&hold, now);
                Reply::Done
            }
            Verb::Renew => owned(entry.renew(&hold, now)),
            Verb::Checkpoint(number) => owned(entry.checkpoint(&hold, bytes(*number), now)),
            Verb::Suspend(number) => owned(entry.suspend(&hold, bytes(*number), now)),
            Verb::Complete(number) => owned(entry.complete(&hold, bytes(*number), now)),
            Verb::Release => owned(entry.release(&hold, now)),
            Verb::Inspect => Reply::Record(entry.inspect(&self.id, now)),
            Verb::Resolve { seen, how } => {
                let seen = self.names.of_store(call.seen(*seen, inspected));
                let mut fresh = [MADE; 16];
                fresh[1] = self.made;
                let fresh = Token::from_bytes(fresh);
                let reply = owned(entry.resolve(&seen, how.resolution(call.ttl), fresh, now));
                let is_used = self.record().is_some_and(|record| record.token == fresh);
                self.made += u8::from(is_used);
                reply
            }
        }
    }

    /// Takes the step, which has read the clock at an earlier time.
    pub(crate) fn apply_late(&mut self, call: &Call, inspected: Option<Token>, time: SystemTime) {
        let now = std::mem::replace(&mut self.now, time);
        let _unknown = self.apply(call, inspected);
        self.now = now;
    }

    /// Takes the step, and returns whether a store may reply this to it.
    pub(crate) fn accepts(&mut self, call: &Call, inspected: Option<Token>, reply: &Reply) -> bool {
        if *reply == Reply::Spent && self.may_remember(token(call.owner)) {
            return true;
        }
        let expected = self.apply(call, inspected);
        self.names.agree(&expected, reply)
    }

    fn may_remember(&self, token: Token) -> bool {
        let spent = self.spent.as_ref();
        spent.is_some_and(|spent| spent.contains(&token))
    }

    /// Whether the key is free and the call's token spent, so that a repeated step which frees the key may be told that it has: its first
    /// sending looks like an earlier step by the same token. A store that remembers the hold itself takes any free key for the end of it.
    pub(crate) fn has_freed(&self, call: &Call, inspected: Option<Token>, reply: &Reply) -> bool {
        let token = match &call.verb {
            Verb::Release => token(call.owner),
            Verb::Resolve {
                seen,
                how: How::Release | How::Forget,
            } => self.names.of_store(call.seen(*seen, inspected)),
            _ => return false,
        };
        let is_spent = self.spent.is_some() || self.entry.spent_tokens().contains(&token);
        *reply == Reply::Done && self.record().is_none() && is_spent
    }

    /// Whether a store may list these records, as far as this key is concerned.
    pub(crate) fn accepts_listed(&mut self, request: &ListRequest, listed: &[Listed]) -> bool {
        let expected = self.record().filter(|it| request.matches(it, self.now));
        let found = listed.iter().find(|listed| listed.id == self.id);
        let found = found.and_then(|listed| listed.record.as_ref().ok().cloned());
        self.names
            .agree(&Reply::Record(expected), &Reply::Record(found))
    }
}

fn owned<T>(transition: Transition<IfOwner<T>>) -> Reply
where
    Reply: From<IfOwner<T>>,
{
    transition.reply.into()
}

impl Names {
    /// Whether the store's reply says what the reference's does.
    pub(crate) fn agree(&mut self, expected: &Reply, reply: &Reply) -> bool {
        match (expected, reply) {
            (
                Reply::Claim(Claim::Completed {
                    fingerprint,
                    outcome,
                    expires_at,
                    ..
                }),
                Reply::Claim(Claim::Completed {
                    fingerprint: other,
                    outcome: stored,
                    expires_at: ends,
                    ..
                }),
            ) => fingerprint == other && outcome == stored && is_near(*expires_at, *ends),
            (Reply::Completed(expires_at), Reply::Completed(ends)) => is_near(*expires_at, *ends),
            (Reply::Record(Some(expected)), Reply::Record(Some(record))) => {
                self.agree_on(expected, record)
            }
            (expected, reply) => expected == reply,
        }
    }

    fn agree_on(&mut self, expected: &Record, record: &Record) -> bool {
        let is_same_phase = match (&expected.phase, &record.phase) {
            (
                Phase::InFlight {
                    lease_until,
                    progress,
                },
                Phase::InFlight {
                    lease_until: ends,
                    progress: stored,
                },
            ) => progress == stored && is_near(*lease_until, *ends),
            (Phase::Completed { outcome }, Phase::Completed { outcome: stored }) => {
                outcome == stored
            }
            _ => false,
        };
        is_same_phase
            && expected.id == record.id
            && expected.fingerprint == record.fingerprint
            && expected.attempt == record.attempt
            && expected.labels == record.labels
            && is_near(expected.expires_at, record.expires_at)
            && are_near(expected.created_at, record.created_at)
            && are_near(expected.completed_at, record.completed_at)
            && self.is_name(expected.token, record.token)
    }

    /// Whether this may be the store's name for this token. From then on it is.
    fn is_name(&mut self, expected: Token, token: Token) -> bool {
        if expected.as_bytes()[0] < MADE {
            return expected == token;
        }
        match self
            .0
            .iter()
            .find(|pair| pair.0 == token || pair.1 == expected)
        {
            Some(pair) => *pair == (token, expected),
            None => {
                self.0.push((token, expected));
                true
            }
        }
    }

    fn of_store(&self, token: Token) -> Token {
        let named = self.0.iter().find(|pair| pair.0 == token);
        named.map_or(token, |pair| pair.1)
    }
}

fn is_near(one: SystemTime, other: SystemTime) -> bool {
    let apart = one.duration_since(other);
    apart.unwrap_or_else(|error| error.duration()) < TOLERANCE
}

fn are_near(one: Option<SystemTime>, other: Option<SystemTime>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => is_near(one, other),
        (None, None) => true,
        _ => false,
    }
}
