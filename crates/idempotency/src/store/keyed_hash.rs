//! The hash of keys that are digests or random: it only has to be one that no client can predict.

use std::hash::{BuildHasher, Hasher};

/// Keys of a hash, random for each map. A client can make keys whose digests are alike in any few bits, and so fill one place of a map
/// whose hash it knows.
#[derive(Clone, Debug)]
pub(crate) struct KeyedHash {
    start: u64,
    factor: u64,
}

/// Two multiplications for 16 bytes, where the standard library's hash mixes each word of them several times.
pub(crate) struct KeyedHasher {
    hash: u64,
    factor: u64,
}

impl Default for KeyedHash {
    fn default() -> Self {
        Self {
            start: rand::random(),
            factor: rand::random::<u64>() | 1,
        }
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher {
            hash: self.start,
            factor: self.factor,
        }
    }
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(size_of::<u64>()) {
            let mut padded = [0; size_of::<u64>()];
            padded[..word.len()].copy_from_slice(word);
            self.write_u64(u64::from_le_bytes(padded));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.hash ^ word) * u128::from(self.factor);
        let halves = product.to_le_bytes();
        let (low, high) = halves.split_at(size_of::<u64>());
        let half = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        self.hash = half(low) ^ half(high);
    }

    fn write_usize(&mut self, _length: usize) {
        // The keys of a map have one length.
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use super::KeyedHash;

    #[test]
    fn keys_that_differ_in_one_bit_are_spread() {
        let hash = KeyedHash::default();
        let mut of_map = HashSet::new();
        for bit in 0..128 {
            of_map.insert(hash.hash_one((1_u128 << bit).to_le_bytes()) >> 57);
        }
        assert!(of_map.len() > 30, "{} of 128 places", of_map.len());
    }

    #[test]
    fn maps_have_hashes_of_their_own() {
        let of = |hash: KeyedHash| hash.hash_one([7_u8; 16]);
        assert_ne!(of(KeyedHash::default()), of(KeyedHash::default()));
    }
}
