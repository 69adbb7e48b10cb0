//! What the library leaves to chance: tokens, and how long it pauses before it tries again.

#[cfg(feature = "testing")]
use std::cell::RefCell;
use std::time::Duration;

use rand::{Rng, RngExt};
#[cfg(feature = "testing")]
use rand::{SeedableRng, rngs::StdRng};

#[cfg(feature = "testing")]
thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Random bytes that nobody can guess.
pub(crate) fn bytes() -> [u8; 16] {
    draw(|rng| rng.random())
}

/// At least half of this pause, so that many who pause do not go on at the same moment.
pub(crate) fn jittered(pause: Duration) -> Duration {
    pause.mul_f32(draw(|rng| rng.random_range(0.5..1.0)))
}

/// From now on this thread's chance is that of the seed, so that a simulation can be repeated. Whoever knows the seed can guess the tokens.
#[cfg(feature = "testing")]
pub fn seed_this_thread(seed: u64) {
    SEEDED.set(Some(StdRng::seed_from_u64(seed)));
}

#[cfg(feature = "testing")]
fn draw<T>(draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
    SEEDED.with_borrow_mut(|seeded| match seeded {
        Some(seeded) => draw(seeded),
        None => draw(&mut rand::rng()),
    })
}

#[cfg(not(feature = "testing"))]
fn draw<T>(draw: impl FnOnce(&mut dyn Rng) -> T) -> T {
    draw(&mut rand::rng())
}
