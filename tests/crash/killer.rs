//! The one who kills.

use std::ops::Range;

use tokio::time::sleep;

use crate::{
    chance::Chance,
    ledger::{Breach, Ledger},
    run::Plan,
    world::World,
};

/// Longer than a lease of a second: somebody else takes over meanwhile, and perhaps runs when it ends.
const FROZEN: Range<u64> = 1_100..1_800;

/// What was done to the services and their database.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Blows {
    pub(crate) kills: usize,
    pub(crate) freezes: usize,
    pub(crate) server_kills: usize,
}

/// Kills at random moments at least as often as planned, and returns once all services are there again.
pub(crate) async fn kill(world: &World, ledger: &Ledger, plan: &Plan, mut chance: Chance) -> Blows {
    let mut blows = Blows::default();
    for blow in 0..plan.kills {
        sleep(chance.milliseconds(20..400)).await;
        let service = &world.services[chance.below(world.services.len())];
        let mut process = service.process.lock().await;
        // Before some deaths one is suspended where there is another, and does not know.
        if world.services.len() > 1 && chance.one_in(plan.one_freeze_in) {
            process.freeze(chance.milliseconds(FROZEN)).await;
            blows.freezes += 1;
            sleep(chance.milliseconds(0..400)).await;
        }
        let early_death = chance.one_in(8).then(|| chance.milliseconds(0..60));
        let down = chance.milliseconds(0..60);
        if !process.kill_and_start(down, early_death).await {
            ledger.report(Breach::Ended(service.address.clone()));
        }
        blows.kills += 1 + usize::from(early_death.is_some());
        drop(process);
        if plan.server_kills.contains(&blow) && world.kill_server().await {
            blows.server_kills += 1;
        }
    }
    blows
}
