//! Services and clients over a simulated network, in simulated time: partitions, delays, and machines that crash and start again.
//!
//! Services keep their keys in a store, or in a database beside their rows, in transactional mode. Neither is a real one, whose threads no
//! seed decides: `tests/histories` and `tests/crash` have those.
//!
//! Each simulation comes from a number. A failing test prints it, and `SIMULATION_SEED` repeats it; `SIMULATIONS=2000` makes so many.

mod client;
mod faults;
mod faulty;
mod machines;
mod mail;
mod remote_store;
#[path = "../crash/rng.rs"]
mod rng;
mod rows;
mod simulation;
mod transactions;
mod watched;
mod world;

use std::{collections::BTreeSet, env};

use machines::Handling;
use simulation::{Simulation, StoreKind};

/// What a hundred simulations meet.
const MET: [&str; 14] = [
    ", attempt 2",
    ", attempt 3",
    "409 Conflict",
    "503 Service Unavailable",
    "500 Internal Server Error",
    "not stored yet",
    "gets nothing",
    "leaves",
    "withdrawal of",
    "suspension of",
    "mended: OneWay",
    "mended: Hold",
    "mended: Kill",
    "mended: PowerLoss(\"store\")",
];

/// What a hundred of those meet whose services are transactional.
const MET_BY_TRANSACTIONS: [&str; 10] = [
    "409 Conflict",
    "503 Service Unavailable",
    "500 Internal Server Error",
    "504 Gateway Timeout",
    "leaves",
    "store: refuses a commit",
    "is not confirmed",
    "drops its commit",
    "mended: Kill",
    "mended: PowerLoss(\"store\")",
];

/// The seed of the first simulation that breaks a promise, among so many, and what it broke.
fn first_failing(many: u64, simulation: Simulation) -> Option<(u64, String)> {
    (0..many).find_map(|seed| Some((seed, simulation.run(seed).err()?)))
}

const TRANSACTIONAL: Simulation = Simulation {
    store: StoreKind::Right,
    handling: Handling::Transactional,
};

/// No simulation breaks a promise, and a hundred of them meet all of this.
#[track_caller]
fn assert_kept(simulation: Simulation, met: &[&str]) {
    let variable = |name| {
        env::var(name)
            .ok()
            .map(|text| text.parse().expect("a number"))
    };
    let seeds = match (variable("SIMULATION_SEED"), variable("SIMULATIONS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, many) => 0..many.unwrap_or(150),
    };
    let many = seeds.end - seeds.start;
    let mut missing: BTreeSet<_> = met.iter().collect();
    for seed in seeds {
        match simulation.run(seed) {
            Ok(trace) => missing.retain(|text| !trace.iter().any(|line| line.contains(**text))),
            Err(broken) => panic!("SIMULATION_SEED={seed}: {broken}"),
        }
    }
    assert!(many < 100 || missing.is_empty(), "never met: {missing:?}");
}

// proves: simulations-keep-promises
#[test]
fn each_request_is_done_once_and_answered_whatever_the_network_does() {
    assert_kept(Simulation::default(), &MET);
}

// proves: simulations-keep-promises, rows-and-key-commit-together, unknown-commit-applied-twice
#[test]
fn each_row_is_committed_once_whatever_the_network_does() {
    assert_kept(TRANSACTIONAL, &MET_BY_TRANSACTIONS);
}

// proves: simulation-seed-repeats
#[test]
fn a_seed_repeats_its_simulation() {
    for (seed, simulation) in
        (0..10).flat_map(|seed| [(seed, Simulation::default()), (seed, TRANSACTIONAL)])
    {
        let [first, second] = [(); 2].map(|()| simulation.run(seed));
        let (first, second) = (first.expect("no promise"), second.expect("no promise"));
        let differing = first
            .iter()
            .zip(&second)
            .position(|(one, other)| one != other);
        let place = differing.unwrap_or(first.len().min(second.len()));
        let from = place.saturating_sub(5);
        let near = |trace: &[String]| trace[from..trace.len().min(place + 5)].join("\n");
        assert!(
            first == second,
            "seed {seed}:\n{}\n\n{}",
            near(&first),
            near(&second)
        );
    }
}

// proves: simulations-find-mistakes, stale-owner-writes
#[test]
fn a_store_that_lets_anyone_complete_is_found() {
    let faulty = Simulation {
        store: StoreKind::CompletesForAnyone,
        ..Simulation::default()
    };
    let (seed, broken) = first_failing(200, faulty).expect("a failing seed");
    assert!(
        broken.contains("lost its key completed it"),
        "{seed}: {broken}"
    );
}

// proves: simulations-find-mistakes, live-owner-replaced
#[test]
fn a_store_whose_leases_are_too_short_is_found() {
    let faulty = Simulation {
        store: StoreKind::ShortLeases,
        ..Simulation::default()
    };
    let (seed, broken) = first_failing(200, faulty).expect("a failing seed");
    assert!(broken.contains("a second run won"), "{seed}: {broken}");
}

// proves: simulations-find-mistakes
#[test]
fn a_handler_without_protection_is_found() {
    let bare = Simulation {
        handling: Handling::Bare,
        ..Simulation::default()
    };
    let (seed, broken) = first_failing(20, bare).expect("a failing seed");
    assert!(
        broken.contains("its clients got different responses"),
        "{seed}: {broken}"
    );
}

// proves: simulations-find-mistakes
#[test]
fn a_database_that_commits_the_row_before_the_key_is_found() {
    let faulty = Simulation {
        handling: Handling::RowsFirst,
        ..Simulation::default()
    };
    let (seed, broken) = first_failing(100, faulty).expect("a failing seed");
    assert!(broken.contains("did not happen once"), "{seed}: {broken}");
}
