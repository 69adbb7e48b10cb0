//! What the same harness finds if the guarantee is broken on purpose. Chance decides when, so there are several rounds.

use crate::{
    crash_world::{Kind, Mode},
    ledger::Breach,
    run::{Plan, run},
};

/// Every one of these tests has been seen to find its breach. Ten rounds without one are not bad luck.
const ROUNDS: u64 = 10;

/// Suspended services resume, commit their bookings and complete keys that others have taken.
// proves: lost-lease-stores-nothing, stale-owner-writes, run-outlives-lease
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_end_without_a_fence_are_found() {
    let duplicate = |breach: &Breach| matches!(breach, Breach::Duplicate(..));
    let other_response = |breach: &Breach| matches!(breach, Breach::Changed(..));
    finds(Kind::Postgres, Mode::Unfenced, &[duplicate, other_response]).await;
}

/// Services die between the two commits.
// proves: rows-and-key-commit-together
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_written_after_their_bookings_are_found() {
    let duplicate = |breach: &Breach| matches!(breach, Breach::Duplicate(..));
    finds(Kind::Sqlite, Mode::SecondCommit, &[duplicate]).await;
}

/// Clients leave while their keys are claimed, and the keys are not released.
// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_are_not_withdrawn_are_found() {
    let stuck = |breach: &Breach| matches!(breach, Breach::Stuck(..));
    finds(Kind::Postgres, Mode::KeepsClaims, &[stuck]).await;
}

/// The services' notes show it, even if no booking is made twice.
// proves: live-owner-replaced
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_runs_are_found() {
    let at_one_time = |breach: &Breach| matches!(breach, Breach::AtOneTime(..));
    finds(Kind::Sqlite, Mode::Steals, &[at_one_time]).await;
}

/// Returns once there was a breach of each of these kinds.
async fn finds(kind: Kind, mode: Mode, sorts: &[fn(&Breach) -> bool]) {
    let mut breaches = Vec::new();
    for round in 0..ROUNDS {
        let plan = Plan::new(kind, mode).round(round);
        let Some(report) = run(plan).await else {
            return;
        };
        breaches.extend(report.breaches);
        if sorts.iter().all(|&sort| breaches.iter().any(sort)) {
            return;
        }
    }
    panic!("{ROUNDS} rounds, and no more than {breaches:?}");
}
