//! A bitmap of the older records that may be in the file, so that the file is not read for each new key.

use std::ops::RangeInclusive;

use super::places::{ROUND, Start};

/// One bit for each remainder of an id. Ids are digests, so a new one meets a set bit as often as bits are set. Then
/// the file is read.
///
/// No bit is cleared alone. Each round passes all older ids and makes a bitmap of those that still exist.
#[derive(Default)]
pub(super) struct OlderIds {
    bits: Bits,
    /// The bitmap that the present round makes.
    next: Option<Bits>,
}

#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    /// How many ids were added.
    ids: usize,
}

/// One new key in eight reads the file, if it has fewer ids than the largest bitmap is for.
const BITS_PER_ID: usize = 8;

/// From two to 16 megabytes. During a round there are two bitmaps.
const SIZES: RangeInclusive<usize> = 1 << 24..=1 << 27;

impl OlderIds {
    /// A bitmap for about this many ids.
    pub(super) fn for_about(ids: usize) -> Self {
        Self {
            bits: Bits::for_about(ids),
            next: None,
        }
    }

    /// Adds what another bitmap for as many ids has.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.bits.add_all(&other.bits);
    }

    pub(super) fn begin_round(&mut self) {
        self.next = Some(Bits::for_about(self.bits.ids.saturating_add(ROUND)));
    }

    /// Adds an id before its place is written.
    pub(super) fn add(&mut self, start: Start) {
        self.bits.add(start);
        self.pass(start);
    }

    /// The round has come by this id.
    pub(super) fn pass(&mut self, start: Start) {
        if let Some(next) = &mut self.next {
            next.add(start);
        }
    }

    pub(super) fn end_round(&mut self) {
        if let Some(next) = self.next.take() {
            self.bits = next;
        }
    }

    pub(super) fn may_have(&self, start: Start) -> bool {
        self.bits.has(start)
    }
}

impl Bits {
    fn for_about(ids: usize) -> Self {
        let size = ids.saturating_mul(BITS_PER_ID);
        let size = size.clamp(*SIZES.start(), *SIZES.end()).next_power_of_two();
        Self {
            words: vec![0; size / 64],
            ids: 0,
        }
    }

    fn add(&mut self, start: Start) {
        let (word, bit) = self.position(start);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bit;
        }
        self.ids += 1;
    }

    fn add_all(&mut self, other: &Self) {
        let words = self.words.iter_mut().zip(&other.words);
        words.for_each(|(word, other)| *word |= other);
        self.ids += other.ids;
    }

    fn has(&self, start: Start) -> bool {
        let (word, bit) = self.position(start);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// By the last bytes: a round comes by the ids in the order of the first ones.
    fn position(&self, start: Start) -> (usize, u64) {
        let [.., a, b, c, d] = start;
        let number = u32::from_be_bytes([a, b, c, d]) as usize;
        let words = self.words.len().max(1);
        (number / 64 % words, 1 << (number % 64))
    }
}
