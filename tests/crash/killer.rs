//! The killer, which also causes faults that are harder to notice.

use std::ops::Range;

use tests::proxy::DarkEnd;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    crash_world::CrashWorld,
    ledger::{Breach, Ledger},
    rng::Rng,
    run::Plan,
};

/// Longer than a lease of a second: another service takes over meanwhile, and may still be running at the end.
const FROZEN: Range<u64> = 1_100..1_800;

/// Where there is only one service: clients connect and leave meanwhile, and it meets them all at once.
const FROZEN_ALONE: Range<u64> = 200..1_500;

/// How late replies are, in milliseconds: later than other replies, than a lease of a second, and than the time in which the
/// engine expects a reply from its store.
const LATE: [Range<u64>; 3] = [50..700, 1_100..2_500, 5_100..6_500];

/// How long connections are dark. The long periods outlast every timeout, and abandoned calls arrive afterwards.
const DARK: [Range<u64>; 2] = [600..2_500, 5_100..7_000];

/// The faults of the services, their database, and the connections in between.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KillCounts {
    pub(crate) kills: usize,
    pub(crate) freezes: usize,
    pub(crate) server_kills: usize,
    /// Replies that were delayed.
    pub(crate) late: usize,
    /// Connections that went dark.
    pub(crate) dark: usize,
}

#[derive(Debug)]
struct Killer<'a> {
    world: &'a CrashWorld,
    ledger: &'a Ledger,
    plan: &'a Plan,
    rng: Rng,
    counts: KillCounts,
    /// A service that must live until the faults on its connections have ended.
    spared: Option<(usize, Instant)>,
    /// When those faults have ended.
    clear_at: Instant,
}

/// Causes faults at random moments as often as planned, and returns once all services are up again and nothing is held back.
pub(crate) async fn kill(world: &CrashWorld, ledger: &Ledger, plan: &Plan, rng: Rng) -> KillCounts {
    let mut killer = Killer {
        world,
        ledger,
        plan,
        rng,
        counts: KillCounts::default(),
        spared: None,
        clear_at: Instant::now(),
    };
    for kill in 0..plan.kills {
        sleep(killer.rng.milliseconds(20..400)).await;
        if plan.is_disturbed {
            killer.disturb_the_network();
        }
        killer.strike().await;
        if plan.server_kills.contains(&kill) && world.kill_server().await {
            killer.counts.server_kills += 1;
        }
    }
    // Where services die, the fault would mostly affect dead ones.
    if !plan.mode.is_deadly() {
        sleep_until(killer.clear_at).await;
    }
    world.let_everything_through();
    KillCounts {
        late: world.late_replies(),
        ..killer.counts
    }
}

impl Killer<'_> {
    /// Delays replies, darkens connections, or does neither.
    fn disturb_the_network(&mut self) {
        if self.world.late_replies() == 0 || self.rng.one_in(4) {
            let service = self.rng.below(self.world.services.len());
            self.make_late(service);
        }
        if self.counts.dark == 0 || self.rng.one_in(5) {
            let service = self.rng.below(self.world.services.len());
            self.make_dark(service);
        }
    }

    fn make_late(&mut self, service: usize) {
        let Some(proxy) = &self.world.services[service].proxy else {
            return;
        };
        let longest = match self.rng.below(6) {
            0 => LATE[2].clone(),
            1 | 2 => LATE[1].clone(),
            _ => LATE[0].clone(),
        };
        let longest = self.rng.milliseconds(longest);
        let milliseconds = u64::try_from(longest.as_millis()).expect("a short time");
        let others = (0..self.rng.below(12)).map(|_| self.rng.milliseconds(1..milliseconds));
        let delays: Vec<_> = [longest].into_iter().chain(others).collect();
        proxy.delay_the_next_replies(delays);
        self.spare_until(service, Instant::now() + longest);
    }

    fn make_dark(&mut self, service: usize) {
        let Some(proxy) = &self.world.services[service].proxy else {
            return;
        };
        // The first dark period is long if its service lives that long.
        let is_first = self.counts.dark == 0 && !self.plan.mode.is_deadly();
        let is_long = is_first || self.rng.one_in(8);
        let time = DARK[usize::from(is_long)].clone();
        let time = self.rng.milliseconds(time);
        let end = if self.rng.one_in(3) && !is_first {
            DarkEnd::Cut
        } else {
            DarkEnd::Delivered
        };
        let all = self.rng.one_in(2);
        let rng = &mut self.rng;
        let mut dark = proxy.darken(time, end, || all || rng.one_in(2));
        if dark == 0 {
            dark = proxy.darken(time, end, || true);
        }
        self.counts.dark += dark;
        self.spare_until(service, Instant::now() + time);
    }

    /// Usually other services die meanwhile.
    fn spare_until(&mut self, service: usize, time: Instant) {
        self.clear_at = self.clear_at.max(time);
        if !self.rng.one_in(3) {
            self.spared = Some((service, time + self.rng.milliseconds(0..500)));
        }
    }

    /// Suspends a service, or kills it, or both.
    async fn strike(&mut self) {
        let services = &self.world.services;
        let several = services.len() > 1;
        let mut number = self.rng.below(services.len());
        if let Some((spared, until)) = self.spared
            && several
            && spared == number
            && Instant::now() < until
        {
            number = (number + 1) % services.len();
        }
        let service = &services[number];
        let mut process = service.process.lock().await;
        if self.counts.freezes == 0 || self.rng.one_in(self.plan.one_freeze_in) {
            let time = if several { FROZEN } else { FROZEN_ALONE };
            process.freeze(self.rng.milliseconds(time)).await;
            self.counts.freezes += 1;
            sleep(self.rng.milliseconds(0..400)).await;
        }
        if !self.plan.mode.is_deadly() {
            return;
        }
        // The service is to resume.
        if let Some(proxy) = &service.proxy {
            proxy.delay_the_next_replies([]);
        }
        let early_death = self.rng.one_in(8);
        let early_death = early_death.then(|| self.rng.milliseconds(0..60));
        let down = self.rng.milliseconds(0..60);
        if !process.kill_and_start(down, early_death).await {
            self.ledger.report(Breach::Ended(service.address.clone()));
        }
        self.counts.kills += 1 + usize::from(early_death.is_some());
    }
}
