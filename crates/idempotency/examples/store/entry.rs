//! One key: its record, if there is one, and the tokens that are spent.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotency::store::{MAX_SPENT_TOKENS, Phase, Record, Token};

#[derive(Debug)]
pub(crate) struct Entry {
    /// None, where the key is free.
    pub(crate) record: Option<Record>,
    /// The tokens whose claims take nothing any more, the latest first.
    pub(crate) spent: Vec<Token>,
    /// The end of the record; of a free key, when its spent tokens are forgotten.
    pub(crate) ends: SystemTime,
}

/// A century stands for what is longer.
pub(crate) fn later(time: SystemTime, by: Duration) -> SystemTime {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    time + by.min(CENTURY)
}

impl Entry {
    pub(crate) fn absent(now: SystemTime) -> Self {
        Self {
            record: None,
            spent: Vec::new(),
            ends: now,
        }
    }

    pub(crate) fn shown(&self) -> Option<Record> {
        let mut record = self.record.clone()?;
        record.expires_at = self.ends;
        Some(record)
    }

    /// The end of the lease and the progress of the hold, if it is this token's.
    pub(crate) fn hold_of(&mut self, token: &Token) -> Option<(&mut SystemTime, &mut Bytes)> {
        let record = self.record.as_mut()?;
        let is_owner = record.token == *token && !self.spent.contains(token);
        match &mut record.phase {
            Phase::InFlight {
                lease_until,
                progress,
            } if is_owner => Some((lease_until, progress)),
            _ => None,
        }
    }

    pub(crate) fn spend(&mut self, token: Token) {
        self.spent.insert(0, token);
        self.spent.truncate(MAX_SPENT_TOKENS);
    }

    /// Forgets the record and spends its token, and remembers that at least until then.
    pub(crate) fn free(&mut self, token: Token, until: SystemTime) {
        self.record = None;
        self.ends = self.ends.max(until);
        if !self.spent.contains(&token) {
            self.spend(token);
        }
    }
}
