//! The holds that are renewed, in the order in which they are due.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use tokio::{
    runtime::{Handle, Id},
    time::Instant,
};

use crate::{Fingerprint, Hold, Token};

#[derive(Default)]
pub(super) struct Holds {
    held: HashMap<Token, Held>,
    /// Those that are renewed again, so that the renewer looks at no others.
    due: BTreeSet<(Instant, Token)>,
}

pub(super) struct Held {
    pub(super) hold: Hold,
    pub(super) fingerprint: Fingerprint,
    /// The number that its record has.
    pub(super) attempt: u32,
    /// What the run has kept so far, or is about to.
    pub(super) progress: Bytes,
    pub(super) due: Instant,
    pub(super) until: Instant,
    /// Where its run is.
    pub(super) runtime: Handle,
}

impl Holds {
    pub(super) fn insert(&mut self, held: Held) {
        let token = held.hold.token;
        self.due.insert((held.due, token));
        self.held.insert(token, held);
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, token: &Token) -> bool {
        let Some(held) = self.held.remove(token) else {
            return false;
        };
        self.due.remove(&(held.due, *token));
        true
    }

    pub(super) fn get(&self, token: &Token) -> Option<&Held> {
        self.held.get(token)
    }

    /// To change what does not say when it is due.
    pub(super) fn get_mut(&mut self, token: &Token) -> Option<&mut Held> {
        self.held.get_mut(token)
    }

    /// Has a hold renewed then, unless it is due earlier; false if that is so, or it is renewed no more.
    pub(super) fn bring_forward(&mut self, token: &Token, due: Instant) -> bool {
        let Some(held) = self.held.get_mut(token) else {
            return false;
        };
        if due >= held.due || !self.due.remove(&(held.due, *token)) {
            return false;
        }
        held.due = due;
        self.due.insert((due, *token))
    }

    /// The holds that are due now, each put off by a third of its lease.
    ///
    /// What is due soon is taken along: with many runs, each wake would be for the sake of one.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(Hold, Fingerprint)> {
        let mut taken = Vec::new();
        while let Some(&(due, token)) = self.due.first() {
            let Some(held) = self.held.get_mut(&token) else {
                unreachable!("what is due is held");
            };
            if due > now + held.hold.lease / 30 {
                break;
            }
            self.due.pop_first();
            // Past its time it stays out of the order.
            if now < held.until {
                held.due = now + held.hold.lease / 3;
                self.due.insert((held.due, token));
                taken.push((held.hold.clone(), held.fingerprint));
            }
        }
        taken
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A runtime with a run, other than these.
    pub(super) fn runtime_beside(&self, others: &[Id]) -> Option<Handle> {
        let runtimes = self.held.values().map(|held| &held.runtime);
        let mut beside = runtimes.filter(|runtime| !others.contains(&runtime.id()));
        beside.next().cloned()
    }
}
