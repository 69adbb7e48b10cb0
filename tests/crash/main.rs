//! Services that are killed and suspended at random moments, whose clients leave and retry, and whose database's replies
//! are late or do not come: afterwards every key that was ever acknowledged has one booking and gives the same bytes, every
//! other one has at most one, and nothing is stuck.
//!
//! Beside them services die at each point of a request, one after the other: there the number of effects is a constant (`points.rs`).
//!
//! The moments come from a seed, which is printed. `CRASH_SEED` gives it again and `CRASH_KILLS` makes a run longer.

mod bookings;
mod broken;
mod clients;
mod crash_world;
mod kept;
mod killer;
mod leaving;
mod ledger;
mod points;
mod points_table;
mod process;
mod rng;
mod run;
mod runs;
mod verdict;
