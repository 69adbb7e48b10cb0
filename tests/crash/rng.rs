//! Random decisions that a seed repeats.

use std::{ops::Range, time::Duration};

/// A generator of decisions, by `SplitMix64`.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The decisions of one actor, whatever the others do.
    pub(crate) fn of(seed: u64, actor: u64) -> Self {
        let mut rng = Self(seed ^ actor.wrapping_mul(0xd134_2543_de82_ef95));
        rng.next();
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `many`.
    pub(crate) fn below(&mut self, many: usize) -> usize {
        let many = u64::try_from(many).expect("a number");
        usize::try_from(self.next() % many).expect("a smaller number")
    }

    /// True once in this many times, on average.
    pub(crate) fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    pub(crate) fn milliseconds(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(range.start + self.next() % (range.end - range.start))
    }
}
