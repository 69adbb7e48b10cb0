//! The one who kills.

use std::ops::Range;

use tokio::time::sleep;

use crate::{chance::Chance, run::Plan, world::World};

/// Longer than a lease of a second: somebody else takes over meanwhile, and perhaps runs when it ends.
const FROZEN: Range<u64> = 1_100..1_800;

/// Kills as often as planned, at random moments, and returns once all services are there again.
pub(crate) async fn kill(world: &World, plan: &Plan, mut chance: Chance) {
    for kill in 0..plan.kills {
        sleep(chance.milliseconds(20..400)).await;
        let service = &world.services[chance.below(world.services.len())];
        let mut process = service.process.lock().await;
        // Before some deaths one is suspended where there is another, and does not know.
        if world.services.len() > 1 && chance.one_in(4) {
            process.freeze(chance.milliseconds(FROZEN)).await;
            sleep(chance.milliseconds(0..400)).await;
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
