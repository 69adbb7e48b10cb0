//! Inputs that are made of others, in the order that a seed has.

/// Endless.
pub(crate) struct Mutations<'a> {
    corpus: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutations<'a> {
    pub(crate) const fn of(corpus: &'a [Vec<u8>], seed: u64) -> Self {
        // An odd factor, so that seeds next to each other begin far apart, and none but the last one begins with 0, which would stay 0.
        let state = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self { corpus, state }
    }

    /// A number below this one, by the xorshift generator.
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let limit = u64::try_from(limit.max(1)).expect("64 bits");
        usize::try_from(self.state % limit).expect("it is below the limit")
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    /// A part of an input, of half its length at most.
    fn part(&mut self) -> Vec<u8> {
        let (corpus, chosen) = (self.corpus, self.below(self.corpus.len()));
        let from = &corpus[chosen];
        let start = self.below(from.len());
        let length = self.below(from.len() / 2 + 1);
        from[start..from.len().min(start + length)].to_vec()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let end = input.len().min(at + self.below(8));
        match self.below(6) {
            0 => input.insert(at, self.byte()),
            1 => drop(input.drain(at..end)),
            2 => {
                let part = self.part();
                input.splice(at..at, part);
            }
            3 => {
                let part = self.part();
                input.splice(at..end, part);
            }
            // Many times: limits are on the length of numbers and names, and on depth.
            4 => {
                let again = input[at..end].repeat(1 + self.below(16));
                input.splice(at..at, again);
            }
            _ if at < input.len() => input[at] ^= 1 << self.below(8),
            _ => input.truncate(at / 2),
        }
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let (corpus, chosen) = (self.corpus, self.below(self.corpus.len()));
        let mut input = corpus[chosen].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input);
        }
        Some(input)
    }
}
