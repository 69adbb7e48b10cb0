//! What the same harness finds where the guarantee is broken on purpose. Chance decides when, so there are several rounds.

use crate::{
    crash_world::{Kind, Mode},
    ledger::Breach,
    run::{Plan, run},
};

/// Each has been seen to find something; ten that find nothing are no bad luck.
const ROUNDS: u64 = 10;

/// Suspended services wake up, commit their bookings and complete a key that another one has by now.
// proves: lost-lease-stores-nothing, stale-owner-writes, run-outlives-lease
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_end_without_a_fence_are_found() {
    let duplicate = |breach: &Breach| matches!(breach, Breach::Duplicate(..));
    let other_answer = |breach: &Breach| matches!(breach, Breach::Changed(..));
    finds(Kind::Postgres, Mode::Unfenced, &[duplicate, other_answer]).await;
}

/// Services die between the two commits.
// proves: rows-and-key-commit-together
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_are_written_after_their_bookings_are_found() {
    let duplicate = |breach: &Breach| matches!(breach, Breach::Duplicate(..));
    finds(Kind::Sqlite, Mode::SecondCommit, &[duplicate]).await;
}

/// Clients leave while their keys are claimed, and nobody gives the keys back.
// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_are_not_given_back_are_found() {
    let stuck = |breach: &Breach| matches!(breach, Breach::Stuck(..));
    finds(Kind::Postgres, Mode::KeepsClaims, &[stuck]).await;
}

/// The runs show it, also where no booking is made twice.
// proves: live-owner-replaced
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_at_one_time_are_found() {
    let at_one_time = |breach: &Breach| matches!(breach, Breach::AtOneTime(..));
    finds(Kind::Sqlite, Mode::Steals, &[at_one_time]).await;
}

/// Returns once there was a breach of each of these sorts.
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
