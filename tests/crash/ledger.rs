//! The responses that clients received, key by key.

use std::{collections::HashMap, mem, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;

/// The part of a response that must be the same every time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FinalResponse {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: Bytes,
}

/// A breach of the guarantee. The texts are keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// More than one booking.
    Duplicate(String, usize),
    /// An acknowledged booking that is not there.
    Lost(String),
    /// Two responses that differ.
    Changed(String, FinalResponse, FinalResponse),
    /// Two responses that are both marked as the first.
    FirstTwice(String),
    /// A retry of an acknowledged request whose response is not marked as a replay.
    Unmarked(String),
    /// A response that a correct client does not get.
    Refused(String, FinalResponse),
    /// No response, however often the client retried.
    Stuck(String),
    /// Two concurrent runs, although no lease had expired.
    AtOneTime(String),
    /// A service that ended without being killed, by its address.
    Ended(String),
    /// This many records of runs that never end.
    InFlight(usize),
}

/// All keys, and what is wrong so far.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    keys: HashMap<String, Entry>,
    breaches: Vec<Breach>,
    retries: usize,
    replays: usize,
    left: usize,
    longest_wait: Duration,
}

#[derive(Debug, Default)]
struct Entry {
    acknowledged: Option<FinalResponse>,
    had_first: bool,
}

/// How much damage the run had to survive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) keys: usize,
    pub(crate) acknowledged: usize,
    pub(crate) retries: usize,
    pub(crate) replays: usize,
    /// How many requests were left by their clients before there was a response.
    pub(crate) left: usize,
    /// The longest time of a key from its first failure to its response.
    pub(crate) longest_wait: Duration,
}

impl Ledger {
    /// Records a key before it is sent.
    pub(crate) fn open(&self, key: &str) {
        self.0.lock().keys.insert(key.to_owned(), Entry::default());
    }

    /// Records that a client has received the response to its booking.
    pub(crate) fn acknowledge(&self, key: &str, response: FinalResponse, is_replayed: bool) {
        let mut entries = self.0.lock();
        let entries = &mut *entries;
        let entry = entries.keys.entry(key.to_owned()).or_default();
        if is_replayed {
            entries.replays += 1;
        } else if mem::replace(&mut entry.had_first, true) {
            entries.breaches.push(Breach::FirstTwice(key.to_owned()));
        }
        let acknowledged = entry.acknowledged.get_or_insert_with(|| response.clone());
        if *acknowledged != response {
            let changed = Breach::Changed(key.to_owned(), acknowledged.clone(), response);
            entries.breaches.push(changed);
        }
    }

    /// Records a breach, which may have been seen before.
    pub(crate) fn report(&self, breach: Breach) {
        let breaches = &mut self.0.lock().breaches;
        if !breaches.contains(&breach) {
            breaches.push(breach);
        }
    }

    /// Records that a client had to retry.
    pub(crate) fn count_retry(&self) {
        self.0.lock().retries += 1;
    }

    /// A client left before there was a response.
    pub(crate) fn count_left(&self) {
        self.0.lock().left += 1;
    }

    /// Records how long after its first failure a client got its response.
    pub(crate) fn count_wait(&self, waited: Duration) {
        let mut entries = self.0.lock();
        entries.longest_wait = entries.longest_wait.max(waited);
    }

    /// Returns the longest wait so far, and resets it.
    pub(crate) fn take_longest_wait(&self) -> Duration {
        mem::take(&mut self.0.lock().longest_wait)
    }

    /// Every key, and whether it was acknowledged.
    pub(crate) fn keys(&self) -> Vec<(String, bool)> {
        let entries = self.0.lock();
        let keys = entries.keys.iter();
        keys.map(|(key, entry)| (key.clone(), entry.acknowledged.is_some()))
            .collect()
    }

    /// Whether a key is stuck, so that waiting for the others is pointless.
    pub(crate) fn is_stuck(&self) -> bool {
        let entries = self.0.lock();
        let mut breaches = entries.breaches.iter();
        breaches.any(|breach| matches!(breach, Breach::Stuck(_)))
    }

    pub(crate) fn breaches(&self) -> Vec<Breach> {
        self.0.lock().breaches.clone()
    }

    pub(crate) fn figures(&self) -> Figures {
        let entries = self.0.lock();
        let acknowledged = |entry: &&Entry| entry.acknowledged.is_some();
        Figures {
            keys: entries.keys.len(),
            acknowledged: entries.keys.values().filter(acknowledged).count(),
            retries: entries.retries,
            replays: entries.replays,
            left: entries.left,
            longest_wait: entries.longest_wait,
        }
    }
}
