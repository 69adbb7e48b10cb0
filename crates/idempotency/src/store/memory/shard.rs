//! One part of the memory store: the entries by their ids, and by the times at which they may be forgotten.

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
use crate::{Fingerprint, Labels, Phase, Record, RecordId, Token, store::spent::SpentTokens};

/// One part of the keys. Its lock is never held over an await, and for a few entries at a time.
#[derive(Default)]
pub(super) struct Shard {
    // Boxed, because the map is half empty most of the time.
    pub(super) entries: HashMap<RecordId, Box<Entry>>,
    /// Each entry by a time before which it cannot be forgotten, so that no sweep has to look at the others.
    queue: BTreeSet<(SystemTime, RecordId)>,
}

pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    pub(super) token: Token,
    /// Where it is counted; none, where the key is free.
    pub(super) share: Option<Arc<Share>>,
    /// How many attempts stand; none, where the key is free and the entry only remembers a spent token.
    pub(super) attempt: u32,
    /// Whether this token is spent.
    pub(super) is_withdrawn: bool,
    /// The other tokens that are.
    pub(super) spent: SpentTokens,
    pub(super) expires_at: SystemTime,
    /// Its place in the queue, never later than `expires_at`. A claim stands where the earliest outcome of its run
    /// would end, so that neither its completion nor its renewal has to move it.
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

    /// Removes up to so many entries whose time is over.
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

    /// The entry, if it is not past its time, swept or not.
    pub(super) fn living(&self, id: &RecordId, now: SystemTime) -> Option<&Entry> {
        let entry = self.entries.get(id)?;
        (entry.expires_at > now).then_some(entry.as_ref())
    }

    /// The entry, if it is this token's and the token is not spent.
    pub(super) fn own(&self, id: &RecordId, token: &Token, now: SystemTime) -> Option<&Entry> {
        let entry = self.living(id, now)?;
        (entry.token == *token && !entry.is_withdrawn).then_some(entry)
    }

    /// Whether this token may change the entry: still in flight, and its own.
    pub(super) fn owns(&self, id: &RecordId, token: &Token, now: SystemTime) -> bool {
        self.own(id, token, now).is_some_and(Entry::is_in_flight)
    }
}

impl Entry {
    /// What says of a key that nobody has used that this token is spent.
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

    /// All the tokens that are spent: what is kept of them beside another owner's token.
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

    /// Whether some attempt stands that has not ended.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.is_free() && matches!(self.phase, Phase::InFlight { .. })
    }

    /// Whether the attempt's lease has lapsed and this request may take the key over.
    pub(super) fn may_be_taken(&self, fingerprint: &Fingerprint, now: SystemTime) -> bool {
        let is_lapsed =
            matches!(self.phase, Phase::InFlight { lease_until, .. } if lease_until <= now);
        is_lapsed && !self.is_free() && self.fingerprint == *fingerprint
    }

    /// What its run has left: so far, or in the end.
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
