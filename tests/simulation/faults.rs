//! What goes wrong, and when.

use std::{collections::BTreeMap, time::Duration};

use turmoil::Sim;

use crate::{rng::Rng, world::World};

/// The machines.
pub(crate) const SERVICES: [&str; 2] = ["service-0", "service-1"];
pub(crate) const CLIENTS: [&str; 3] = ["client-0", "client-1", "client-2"];
pub(crate) const STORE: &str = "store";

/// From then on nothing goes wrong any more.
pub(crate) const QUIET_AFTER: Duration = Duration::from_secs(25);

/// One thing that goes wrong and is mended later.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// What either sends to the other is lost.
    Partition(&'static str, &'static str),
    /// What the first sends to the second is lost.
    OneWay(&'static str, &'static str),
    /// What either sends to the other arrives when the fault is mended.
    Hold(&'static str, &'static str),
    /// The process is killed, and its connections are closed. What it had in memory is gone, except for the store's records.
    Kill(&'static str),
    /// The same, and the other machines do not learn of it.
    PowerLoss(&'static str),
}

/// The faults of one simulation.
#[derive(Debug)]
pub(crate) struct Faults {
    rng: Rng,
    next: Duration,
    /// Those that are not mended yet, and when they will be.
    lasting: BTreeMap<Duration, Fault>,
}

impl Faults {
    pub(crate) fn new(mut rng: Rng) -> Self {
        Self {
            next: rng.milliseconds(0..3000),
            rng,
            lasting: BTreeMap::new(),
        }
    }

    /// Begins and mends what is due.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, world: &World) {
        let now = sim.elapsed();
        world.set_time(now);
        while let Some(first) = self.lasting.first_entry()
            && *first.key() <= now
        {
            let fault = first.remove();
            world.note(format!("mended: {fault:?}"));
            mend(fault, sim);
        }
        if self.next <= now && now < QUIET_AFTER {
            self.next = now + self.rng.milliseconds(200..3000);
            let fault = self.draw();
            let until = (now + self.rng.milliseconds(100..7000)).min(QUIET_AFTER);
            // A link or machine has one fault at a time, and each moment mends one.
            if !self.lasting.values().any(|other| other.meets(fault))
                && !self.lasting.contains_key(&until)
            {
                world.note(format!("{fault:?}"));
                begin(fault, sim);
                self.lasting.insert(until, fault);
            }
        }
    }

    fn draw(&mut self) -> Fault {
        let service = SERVICES[self.rng.below(SERVICES.len())];
        let other = if self.rng.one_in(3) {
            CLIENTS[self.rng.below(CLIENTS.len())]
        } else {
            STORE
        };
        match self.rng.below(8) {
            0 | 1 => Fault::Partition(service, other),
            2 => Fault::OneWay(service, other),
            3 => Fault::OneWay(other, service),
            4 | 5 => Fault::Hold(service, other),
            6 => Fault::Kill(service),
            _ if self.rng.one_in(2) => Fault::PowerLoss(STORE),
            _ => Fault::PowerLoss(service),
        }
    }
}

fn begin(fault: Fault, sim: &mut Sim<'_>) {
    match fault {
        Fault::Partition(one, other) => sim.partition(one, other),
        Fault::OneWay(from, to) => sim.partition_oneway(from, to),
        Fault::Hold(one, other) => sim.hold(one, other),
        Fault::Kill(machine) => sim.crash(machine),
        Fault::PowerLoss(machine) => {
            others(machine).for_each(|other| sim.partition(machine, other));
            sim.crash(machine);
        }
    }
}

fn mend(fault: Fault, sim: &mut Sim<'_>) {
    match fault {
        Fault::Partition(one, other) | Fault::OneWay(one, other) => {
            sim.repair(one, other);
        }
        Fault::Hold(one, other) => sim.release(one, other),
        Fault::Kill(machine) => sim.bounce(machine),
        Fault::PowerLoss(machine) => {
            others(machine).for_each(|other| sim.repair(machine, other));
            sim.bounce(machine);
        }
    }
}

fn others(machine: &'static str) -> impl Iterator<Item = &'static str> {
    let machines = SERVICES.into_iter().chain(CLIENTS).chain([STORE]);
    machines.filter(move |other| *other != machine)
}

impl Fault {
    fn meets(self, other: Self) -> bool {
        self.place() == other.place()
    }

    /// The machine, or the two ends of a link in an order.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Partition(one, other) | Self::OneWay(one, other) | Self::Hold(one, other) => {
                (one.min(other), one.max(other))
            }
            Self::Kill(machine) | Self::PowerLoss(machine) => (machine, machine),
        }
    }
}
