//! The one who kills.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    chance::Chance,
    run::Plan,
    world::{Mode, World},
};

/// Longer than the lease of a service of this package.
const PAST_A_LEASE: Duration = Duration::from_millis(1300);

/// Kills as often as planned, at random moments, and returns once all services are there again.
pub(crate) async fn kill(world: &World, plan: &Plan, mut chance: Chance) {
    for kill in 0..plan.kills {
        sleep(chance.milliseconds(20..400)).await;
        let service = &world.services[chance.below(world.services.len())];
        let mut process = service.process.lock().await;
        // Somebody else can take its keys meanwhile, and it does not know.
        let freezes = world.mode != Mode::Transactional && world.services.len() > 1;
        if freezes && chance.one_in(4) {
            process.freeze(PAST_A_LEASE).await;
            sleep(chance.milliseconds(0..200)).await;
        }
        let early_death = chance.one_in(8).then(|| chance.milliseconds(0..60));
        let down = chance.milliseconds(0..60);
        process.kill_and_start(down, early_death).await;
        drop(process);
        if plan.server_crashes.contains(&kill) && world.crash_server().await {
            println!("its server was killed after {} kills", kill + 1);
        }
    }
}
