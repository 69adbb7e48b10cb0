//! Services that are killed and suspended at random moments, whose clients leave and retry, and whose database's replies
//! are late or do not come: afterwards every key that was ever acknowledged has one booking and gives the same bytes, every
//! other one has at most one, and nothing is stuck.
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
mod process;
mod rng;
mod run;
mod runs;
mod verdict;
