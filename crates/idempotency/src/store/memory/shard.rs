//! One part of the memory store: the entries by id and by the time at which they may be forgotten.

use std::{
    collections::{
        BTreeSet, HashMap,
        hash_map::Entry::{Occupied, Vacant},
    },
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;

use super::scopes::Share;
use crate::{
    Fingerprint,
    labels::Labels,
    record::{Phase, Record, RecordId, Token},
    store::spent::SpentTokens,
};

/// One part of the keys. Its lock is never held over an await, and for only a few entries at a time.
#[derive(Default)]
pub(super) struct Shard {
    // Boxed, because the map is half empty most of the time.
    pub(super) entries: HashMap<RecordId, Box<Entry>>,
    /// Each entry under a time before which it cannot be forgotten, so that a sweep does not visit the others.
    queue: BTreeSet<(SystemTime, RecordId)>,
}

pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    pub(super) token: Token,
    /// Where the entry is counted; `None` for a free key.
    pub(super) share: Option<Arc<Share>>,
    /// The number of attempts; 0 if the key is free and the entry only remembers spent tokens.
    pub(super) attempt: u32,
    /// Whether this token is spent.
    pub(super) is_withdrawn: bool,
    /// The other spent tokens.
    pub(super) spent: SpentTokens,
    pub(super) expires_at: SystemTime,
    /// The entry's place in the queue, never later than `expires_at`. A claim is queued at the time when the earliest
    /// outcome of its run would expire, so that neither completion nor renewal has to move it.
    pub(super) queued_at: SystemTime,
    pub(super) phase: Phase,
    /// When the first attempt claimed the key.
    pub(super) created_at: SystemTime,
    pub(super) completed_at: Option<SystemTime>,
    pub(super) labels: Labels,
}

impl Shard {
    pub(super) fn insert(&mut self, id: RecordId, entry: Entry) {
        self.queue.insert((entry.queued_at, id));
        self.entries.insert(id, Box::new(entry));
    }

    pub(super) fn remove(&mut self, id: &RecordId) -> Option<Box<Entry>> {
        let entry = self.entries.remove(id)?;
        self.queue.remove(&(entry.queued_at, *id));
        Some(entry)
    }

    pub(super) fn update(
        &mut self,
        id: &RecordId,
        expires_at: SystemTime,
        change: impl FnOnce(&mut Entry),
    ) {
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        entry.expires_at = expires_at;
        change(entry);
        // Only an operator's ttl can be as short as that.
        if expires_at < entry.queued_at {
            self.queue.remove(&(entry.queued_at, *id));
            self.queue.insert((expires_at, *id));
            entry.queued_at = expires_at;
        }
    }

    /// Removes up to this many expired entries.
    #[expect(
        clippy::vec_box,
        reason = "the boxes are the map's own, and only they are moved"
    )]
    pub(super) fn take_expired(&mut self, now: SystemTime, limit: usize) -> Vec<Box<Entry>> {
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some(&(queued_at, id)) = self.queue.first()
            && queued_at <= now
        {
            self.queue.pop_first();
            match self.entries.entry(id) {
                Occupied(entry) if entry.get().expires_at <= now => taken.push(entry.remove()),
                Occupied(mut entry) => {
                    let entry = entry.get_mut();
                    entry.queued_at = entry.expires_at;
                    self.queue.insert((entry.queued_at, id));
                }
                Vacant(_) => {}
            }
        }
        taken
    }

    /// The entry, if it has not expired, swept or not.
    pub(super) fn living(&self, id: &RecordId, now: SystemTime) -> Option<&Entry> {
        let entry = self.entries.get(id)?;
        (entry.expires_at > now).then_some(entry.as_ref())
    }

    /// The entry, if it belongs to this token and the token is not spent.
    pub(super) fn own(&self, id: &RecordId, token: &Token, now: SystemTime) -> Option<&Entry> {
        let entry = self.living(id, now)?;
        (entry.token == *token && !entry.is_withdrawn).then_some(entry)
    }

    /// Whether this token may change the entry: it is in flight and belongs to the token.
    pub(super) fn owns(&self, id: &RecordId, token: &Token, now: SystemTime) -> bool {
        self.own(id, token, now).is_some_and(Entry::is_in_flight)
    }
}

impl Entry {
    /// The entry of an unused key, which only records that this token is spent.
    pub(super) fn free(
        fingerprint: Fingerprint,
        token: Token,
        now: SystemTime,
        expires_at: SystemTime,
    ) -> Self {
        Self {
            fingerprint,
            token,
            share: None,
            attempt: 0,
            is_withdrawn: true,
            spent: SpentTokens::default(),
            expires_at,
            queued_at: expires_at,
            phase: Phase::InFlight {
                lease_until: now,
                progress: Bytes::new(),
            },
            created_at: now,
            completed_at: None,
            labels: Labels::default(),
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.attempt == 0
    }

    /// All spent tokens: what an entry keeps when another owner's token replaces its own.
    pub(super) fn spent_tokens(&self) -> SpentTokens {
        if self.is_withdrawn {
            self.spent.with(&self.token)
        } else {
            self.spent.clone()
        }
    }

    /// Whether a claim by this token takes nothing any more.
    pub(super) fn is_spent(&self, token: &Token) -> bool {
        self.is_withdrawn && self.token == *token || self.spent.contains(token)
    }

    /// Whether an attempt has been made that has not ended.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.is_free() && matches!(self.phase, Phase::InFlight { .. })
    }

    /// Whether the attempt's lease has lapsed and this request may take over the key.
    pub(super) fn may_be_taken(&self, fingerprint: &Fingerprint, now: SystemTime) -> bool {
        let is_lapsed =
            matches!(self.phase, Phase::InFlight { lease_until, .. } if lease_until <= now);
        is_lapsed && !self.is_free() && self.fingerprint == *fingerprint
    }

    /// What the run has stored: its progress so far, or its outcome.
    pub(super) fn left(&self) -> &Bytes {
        match &self.phase {
            Phase::InFlight { progress, .. } => progress,
            Phase::Completed { outcome } => outcome,
        }
    }

    pub(super) fn record(&self, id: RecordId) -> Record {
        let mut record = Record::new(
            id,
            self.fingerprint,
            self.token,
            self.attempt,
            self.expires_at,
            self.phase.clone(),
        );
        record.created_at = Some(self.created_at);
        record.completed_at = self.completed_at;
        record.labels = self.labels.clone();
        record
    }
}
