//! What the library leaves to chance: tokens, and how long it pauses before it tries again.

#[cfg(feature = "testing")]
use std::cell::RefCell;
use std::time::Duration;

#[cfg(feature = "testing")]
use rand::{RngExt, SeedableRng, rngs::StdRng};

#[cfg(feature = "testing")]
thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Random bytes that cannot be guessed.
pub(crate) fn bytes() -> [u8; 16] {
    #[cfg(feature = "testing")]
    if let Some(bytes) = seeded(RngExt::random) {
        return bytes;
    }
    rand::random()
}

/// At least half of this pause, so that many who pause do not go on at the same moment.
pub(crate) fn jittered(pause: Duration) -> Duration {
    #[cfg(feature = "testing")]
    if let Some(share) = seeded(|rng| rng.random_range(0.5..1.0)) {
        return pause.mul_f32(share);
    }
    pause.mul_f32(rand::random_range(0.5..1.0))
}

/// From now on this thread's chance is that of the seed, so that a simulation can be repeated. The seed reveals the tokens.
#[cfg(feature = "testing")]
pub fn seed_this_thread(seed: u64) {
    SEEDED.set(Some(StdRng::seed_from_u64(seed)));
}

#[cfg(feature = "testing")]
fn seeded<T>(draw: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    SEEDED.with_borrow_mut(|seeded| seeded.as_mut().map(draw))
}
