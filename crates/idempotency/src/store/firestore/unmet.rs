//! What to expect of a key that this process has not met.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

/// Whether claims of unmet keys found documents lately.
///
/// A claim can begin with the creation of the key's document, or with a read of it. The first is one call for a new key and
/// two for one that has a record; the second is the other way around. Which one it is decides only what the claim costs:
/// a change is made only if the document is what the change is based on, and every other result is that of a read.
#[derive(Clone, Default)]
pub(super) struct UnmetKeys(Arc<AtomicI32>);

/// How far the count goes, so that claims of long ago do not outweigh those of now.
const MEMORY: i32 = 16;

/// How many more claims must have found a document than not, before the next one reads first: more than chance brings
/// about while most keys are new.
const MAJORITY: i32 = 4;

impl UnmetKeys {
    /// Whether the next one probably has a document.
    pub(super) fn probably_exist(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MAJORITY
    }

    /// Two claims at once may count as one: it is only a guess.
    pub(super) fn note(&self, existed: bool) {
        let weight = if existed { 1 } else { -1 };
        let score = self.0.load(Ordering::Relaxed) + weight;
        self.0
            .store(score.clamp(-MEMORY, MEMORY), Ordering::Relaxed);
    }
}
