//! The part of rand that the library uses, with the same numbers in each execution: a schedule then decides all that happens, and can be
//! replayed.

use std::cell::RefCell;

use rand::{
    Fill, RngExt, SeedableRng,
    distr::{Distribution, StandardUniform, uniform},
    rngs::SmallRng,
};

thread_local! {
    /// Shuttle runs all tasks of an execution on one thread.
    static NUMBERS: RefCell<SmallRng> = RefCell::new(first());
}

/// Begins an execution.
pub fn restart() {
    NUMBERS.set(first());
}

/// As `rand::random`.
#[must_use]
pub fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    NUMBERS.with_borrow_mut(SmallRng::random)
}

/// As `rand::random_range`.
#[must_use]
pub fn random_range<T, R>(range: R) -> T
where
    T: uniform::SampleUniform,
    R: uniform::SampleRange<T>,
{
    NUMBERS.with_borrow_mut(|numbers| numbers.random_range(range))
}

/// As `rand::fill`.
pub fn fill<T: Fill>(filled: &mut [T]) {
    NUMBERS.with_borrow_mut(|numbers| numbers.fill(filled));
}

fn first() -> SmallRng {
    SmallRng::seed_from_u64(0)
}
