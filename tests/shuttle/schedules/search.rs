//! Runs a scenario under many schedules, and under a given one.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    future::block_on,
    scheduler::{PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};
use shuttle_engine::{
    runtime::execution::CurrentSchedule, scheduler::serialization::serialize_schedule,
};
use tokio::execution;

use crate::{deviations::Deviations, store::Speed};

/// How many schedules of each kind a scenario has, at each speed of its store.
const SCHEDULES: usize = 300;

/// So that a run is like the one before. With `SHUTTLE_SCHEDULES` each run has other schedules.
const SEED: u64 = 14;

/// How many tasks may take part in the changes of priority that PCT searches.
const DEPTH: usize = 3;

/// How often a depth-first search may let another task go on than the one whose turn it is.
const DEVIATIONS: usize = 1;

/// No client polls a call more often.
const MAX_POLLS: usize = 200;

/// Runs the scenario under random schedules, and under those of PCT.
#[track_caller]
pub(crate) fn search<F>(scenario: impl Fn(Speed) -> F + Copy + Send + Sync + 'static)
where
    F: Future<Output = ()>,
{
    let chosen: Option<usize> = number("SHUTTLE_SCHEDULES");
    let schedules = chosen.unwrap_or(SCHEDULES);
    for speed in Speed::ALL {
        let case = Case { speed, polls: 0 };
        let run = move || block_on(scenario(speed));
        if case.is_replayed(run) {
            continue;
        }
        if chosen.is_some() {
            case.run(RandomScheduler::new(schedules), run);
            case.run(PctScheduler::new(DEPTH, schedules), run);
        } else {
            case.run(RandomScheduler::new_from_seed(SEED, schedules), run);
            case.run(PctScheduler::new_from_seed(SEED, DEPTH, schedules), run);
        }
    }
}

/// Runs the scenario with a client that leaves after its first poll, after its second one, and so on until it never leaves early: under
/// all schedules in which another task goes on than the one whose turn it is once. The scenario says whether the client left.
#[track_caller]
pub(crate) fn search_leaving<F>(scenario: impl Fn(Speed, usize) -> F + Copy + Send + Sync + 'static)
where
    F: Future<Output = bool>,
{
    let deviations = number("SHUTTLE_DEVIATIONS").unwrap_or(DEVIATIONS);
    for speed in Speed::ALL {
        let mut polls = 1;
        loop {
            let case = Case { speed, polls };
            let has_left = Arc::new(AtomicBool::new(false));
            let run = {
                let has_left = Arc::clone(&has_left);
                move || {
                    let left = block_on(scenario(speed, polls));
                    has_left.fetch_or(left, Ordering::Relaxed);
                }
            };
            let is_replayed = case.is_replayed(run.clone());
            if !is_replayed {
                case.run(Deviations::new(deviations), run);
            }
            if !is_replayed && !has_left.load(Ordering::Relaxed) {
                assert!(polls > 1, "no client left");
                break;
            }
            polls += 1;
            if is_replayed && polls > MAX_POLLS {
                break;
            }
            assert!(polls <= MAX_POLLS, "the clients never have their responses");
        }
    }
}

/// What a scenario is run with.
#[derive(Clone, Copy)]
struct Case {
    speed: Speed,
    polls: usize,
}

impl Case {
    /// Whether there is a schedule to be replayed, and no search. If it is one of this case, replays it.
    fn is_replayed(self, run: impl Fn() + Send + Sync + 'static) -> bool {
        let Ok(replay) = env::var("SHUTTLE_REPLAY") else {
            return false;
        };
        let (case, schedule) = replay.rsplit_once(':').expect("a case and its schedule");
        if case == self.name() {
            self.run(ReplayScheduler::new_from_encoded(schedule), run);
        }
        true
    }

    /// Runs the scenario as often as the scheduler wants. If it fails, says how to repeat that.
    fn run(self, scheduler: impl Scheduler + 'static, run: impl Fn() + Send + Sync + 'static) {
        let runner = Runner::new(scheduler, config());
        let ran = catch_unwind(AssertUnwindSafe(|| {
            runner.run(move || {
                execution::restart();
                rand::restart();
                run();
            })
        }));
        match ran {
            Ok(schedules) => println!("{}: {schedules} schedules", self.name()),
            Err(panic) => {
                let schedule = serialize_schedule(&CurrentSchedule::get_schedule());
                let schedule: String = schedule.split_whitespace().collect();
                eprintln!(
                    "replay this test with SHUTTLE_REPLAY={}:{schedule}",
                    self.name()
                );
                resume_unwind(panic)
            }
        }
    }

    fn name(self) -> String {
        format!("{:?}:{}", self.speed, self.polls)
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::new();
    // Frames of a debug build are large.
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(100_000);
    config
}

/// The number in an environment variable.
fn number(variable: &str) -> Option<usize> {
    let text = env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
