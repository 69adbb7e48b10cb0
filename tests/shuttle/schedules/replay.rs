//! A schedule decides all that happens.

use shuttle::{
    Runner,
    future::block_on,
    scheduler::{RandomScheduler, UncontrolledNondeterminismCheckScheduler},
};
use tokio::{execution, spawn};

use crate::{
    client::{leave_after, value},
    search::config,
    store::Speed,
    world::{KEY, World},
};

/// Otherwise a failing schedule could not be replayed.
// proves: schedules-find-mistakes
#[test]
fn a_schedule_that_is_repeated_takes_the_same_course() {
    let random = RandomScheduler::new_from_seed(14, 200);
    let runner = Runner::new(
        UncontrolledNondeterminismCheckScheduler::new(random),
        config(),
    );
    runner.run(|| {
        execution::restart();
        rand::restart();
        block_on(async {
            let world = World::new(Speed::Slow);
            let leaver = spawn(leave_after(3, world.call(KEY)));
            let stayer = world.client(KEY);
            let _ = leaver.await.expect("no abort");
            assert_eq!(value(stayer.await.expect("no abort")), 1);
            world.end().await;
        });
    });
}
