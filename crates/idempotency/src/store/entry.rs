//! All that a store holds for one key, and what each verb of the contract makes of it.

mod claim;
mod moment;
mod owner;
mod resolve;
mod transition;

use std::{fmt, time::SystemTime};

use bytes::Bytes;

use super::spent::SpentTokens;
use crate::{
    Fingerprint,
    labels::Labels,
    record::{Phase, Record, RecordId, Token},
};
pub(super) use moment::Moment;
pub use transition::{Change, Transition};

/// All that a store holds for one key: its record, or that the key is free, and its spent tokens.
///
/// Each verb of [`Store`](super::Store) that changes a key is a method here, with the time as an argument. It calls nothing, so a
/// store is complete that does three things in one atomic step, under a lock or by compare-and-swap: load the entry of a key,
/// call the verb's method, and save the entry. [`MemoryStore`](super::MemoryStore) is such a store, and so is the example `store` of
/// this crate.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use idempotency::{
///     Fingerprint, OnLost,
///     store::{Change, Claim, ClaimRequest, Entry, Hold, RecordId, Token},
/// };
///
/// let (lease, ttl) = (Duration::from_secs(30), Duration::from_secs(3600));
/// let hold = Hold::new(RecordId::from_bytes([7; 32]), Token::random(), lease, ttl);
/// let fingerprint = Fingerprint::of([b"book".as_slice()]);
/// let now = SystemTime::now();
///
/// let mut entry = Entry::default();
/// let request = ClaimRequest::new(&hold, &fingerprint, OnLost::TakeOver);
/// let claimed = entry.claim(request, now);
/// assert!(matches!(claimed.reply, Ok(Claim::Won { attempt: 1, .. })));
///
/// let completed = entry.complete(&hold, "a response".into(), now + Duration::from_secs(1));
/// assert_eq!(completed.change, Change::Ended);
///
/// let retry = hold.clone().with_token(Token::random());
/// let request = ClaimRequest::new(&retry, &fingerprint, OnLost::TakeOver);
/// let claimed = entry.claim(request, now + Duration::from_secs(60));
/// assert!(matches!(claimed.reply, Ok(Claim::Completed { outcome, .. }) if outcome == "a response"));
/// ```
///
/// The [default](Self::default) is the entry of a key for which nothing is stored. An entry that has expired is treated like it,
/// whether it was removed or not. All times of an entry have to come from one clock, and lie before the year 2554: what ends later than that
/// never ends.
///
/// # Saving an entry
///
/// A store in memory saves the entry as it is. One that writes bytes saves the parts, each in a form of its own, and restores the
/// entry from them:
///
/// | Part | Written from | Restored by |
/// |---|---|---|
/// | the record, if there is one | [`inspect`](Self::inspect) | [`from_record`](Self::from_record) |
/// | the spent tokens | [`spent_tokens`](Self::spent_tokens) | both constructors |
/// | when the entry expires | [`expires_at`](Self::expires_at) | [`of_free_key`](Self::of_free_key); a record has it |
///
/// Bytes that it cannot read are an [error](super::StoreError::unreadable), and not an absent entry. A store with a limit on outcomes
/// and progress compares their length before it calls the method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The run that the record describes; `None` if the key is free.
    run: Option<Run>,
    /// The spent tokens, except that of the run.
    spent: SpentTokens,
    /// When the record, or the memory of the spent tokens, expires.
    expires_at: Moment,
}

/// The latest run of a key: a record without its id and its expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    fingerprint: Fingerprint,
    token: Token,
    /// Whether this token is spent: the run was suspended, or its take-over was withdrawn.
    is_spent: bool,
    attempt: u32,
    state: State,
    created_at: Option<Moment>,
    labels: Labels,
}

/// Like [`Phase`], in fewer bytes.
#[derive(Clone, PartialEq, Eq)]
enum State {
    InFlight {
        lease_until: Moment,
        progress: Bytes,
    },
    Completed {
        at: Option<Moment>,
        outcome: Bytes,
    },
}

impl Default for Entry {
    /// The entry of a key for which nothing is stored.
    fn default() -> Self {
        Self {
            run: None,
            spent: SpentTokens::default(),
            expires_at: SystemTime::UNIX_EPOCH.into(),
        }
    }
}

impl Entry {
    /// The entry of a key with this record and these spent tokens, the latest first.
    #[must_use]
    pub fn from_record(record: Record, spent_tokens: &[Token]) -> Self {
        let is_own = |token: &&Token| **token == record.token;
        let others = spent_tokens.iter().filter(|token| !is_own(token));
        Self {
            spent: others.copied().collect(),
            expires_at: record.expires_at.into(),
            run: Some(Run {
                fingerprint: record.fingerprint,
                token: record.token,
                is_spent: spent_tokens.iter().any(|token| is_own(&token)),
                attempt: record.attempt,
                state: State::of(record.phase, record.completed_at),
                created_at: record.created_at.map(Moment::from),
                labels: record.labels,
            }),
        }
    }

    /// The entry of a free key, which has these spent tokens, the latest first, until this time.
    #[must_use]
    pub fn of_free_key(spent_tokens: &[Token], expires_at: SystemTime) -> Self {
        Self {
            run: None,
            spent: spent_tokens.iter().copied().collect(),
            expires_at: expires_at.into(),
        }
    }

    /// The record, unless the key is free or its record has expired.
    #[must_use]
    pub fn inspect(&self, id: &RecordId, now: SystemTime) -> Option<Record> {
        let run = self.run.as_ref().filter(|_| !self.is_expired(now))?;
        let mut record = Record::new(
            *id,
            run.fingerprint,
            run.token,
            run.attempt,
            self.expires_at(),
            run.state.phase(),
        );
        record.created_at = run.created_at.map(SystemTime::from);
        record.completed_at = run.state.completed_at();
        record.labels = run.labels.clone();
        Some(record)
    }

    /// The tokens whose claims take nothing any more, the latest first. That of a suspended run is among them.
    #[must_use]
    pub fn spent_tokens(&self) -> Vec<Token> {
        let own = self.run.iter().filter(|run| run.is_spent);
        own.map(|run| run.token).chain(self.spent.iter()).collect()
    }

    /// When the entry expires. A store may remove it from then on, and has to keep it until then.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at.into()
    }

    /// Whether the entry has expired, so that nothing is stored for the key any more.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.has_expired(now.into())
    }

    pub(super) fn has_expired(&self, now: Moment) -> bool {
        self.expires_at.has_come(now)
    }

    /// When the entry expires, in the form that this store keeps.
    pub(super) const fn expiry(&self) -> Moment {
        self.expires_at
    }

    /// What the run has stored: its progress so far, or its outcome; `None` if the key is free.
    pub(super) fn stored(&self) -> Option<&Bytes> {
        self.run.as_ref().map(|run| match &run.state {
            State::InFlight { progress, .. } => progress,
            State::Completed { outcome, .. } => outcome,
        })
    }

    /// Frees the key and spends this token, at least until then. Other spent tokens are remembered for as long as before.
    fn release_token(&mut self, token: &Token, until: Moment) {
        self.run = None;
        self.expires_at = if self.spent.is_empty() {
            until
        } else {
            self.expires_at.max(until)
        };
        self.spent = self.spent.with(token);
    }
}

impl State {
    fn of(phase: Phase, completed_at: Option<SystemTime>) -> Self {
        match phase {
            Phase::InFlight {
                lease_until,
                progress,
            } => Self::InFlight {
                lease_until: lease_until.into(),
                progress,
            },
            Phase::Completed { outcome } => Self::Completed {
                at: completed_at.map(Moment::from),
                outcome,
            },
        }
    }

    /// Puts another outcome in place of that of a completed run.
    fn replace(&mut self, outcome: Bytes) {
        let at = self.completed_at().map(Moment::from);
        *self = Self::Completed { at, outcome };
    }

    fn phase(&self) -> Phase {
        match self {
            Self::InFlight {
                lease_until,
                progress,
            } => Phase::InFlight {
                lease_until: (*lease_until).into(),
                progress: progress.clone(),
            },
            Self::Completed { outcome, .. } => Phase::Completed {
                outcome: outcome.clone(),
            },
        }
    }

    fn completed_at(&self) -> Option<SystemTime> {
        match self {
            Self::InFlight { .. } => None,
            Self::Completed { at, .. } => at.map(SystemTime::from),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.phase().fmt(formatter)
    }
}
