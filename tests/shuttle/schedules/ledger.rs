//! What the work of the clients has done, counted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

/// Under std's lock, at which no task is interrupted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<HashMap<&'static str, Page>>>);

/// What was done under one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many runs have begun.
    pub(crate) begun: u32,
    /// How many runs had their effect.
    pub(crate) effects: u32,
    running: u32,
    /// How many runs there were at the same time.
    pub(crate) most_at_once: u32,
}

/// A run that has begun. It ends when this is dropped.
pub(crate) struct Begun {
    ledger: Ledger,
    name: &'static str,
    /// The how-manieth it is.
    pub(crate) number: u32,
}

impl Ledger {
    pub(crate) fn begin(&self, name: &'static str) -> Begun {
        let number = self.write(name, |page| {
            page.begun += 1;
            page.running += 1;
            page.most_at_once = page.most_at_once.max(page.running);
            page.begun
        });
        Begun {
            ledger: self.clone(),
            name,
            number,
        }
    }

    pub(crate) fn page(&self, name: &'static str) -> Page {
        self.write(name, |page| *page)
    }

    fn write<T>(&self, name: &'static str, write: impl FnOnce(&mut Page) -> T) -> T {
        write(self.pages().entry(name).or_default())
    }

    fn pages(&self) -> MutexGuard<'_, HashMap<&'static str, Page>> {
        self.0.lock().expect("no panic under the lock")
    }
}

impl Begun {
    /// Has the effect that must not happen twice, and returns its number.
    pub(crate) fn has_effect(&self) -> u32 {
        self.ledger.write(self.name, |page| {
            page.effects += 1;
            page.effects
        })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.ledger.write(self.name, |page| page.running -= 1);
    }
}
