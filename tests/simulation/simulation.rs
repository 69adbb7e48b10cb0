//! One simulation: two services, their store and three clients, two of which make the same requests.

use std::{sync::Arc, time::Duration};

use idempotency::{__simulation1::seed_this_thread, Clock, MemoryStore, Store};
use parking_lot::Mutex;
use tests::{delegate::Delegate, faulty::CompletesForAnyone};
use tokio::runtime;

use crate::{
    client::{self, ORDERS, REST},
    faults::{CLIENTS, Faults, QUIET_AFTER, SERVICES, STORE},
    faulty::ShortLeases,
    machines::{Handling, serve_bookings, serve_store},
    mail::Mail,
    rng::Rng,
    rows::Rows,
    watched::Watched,
    world::World,
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Simulation {
    pub(crate) store: StoreKind,
    pub(crate) handling: Handling,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum StoreKind {
    Right,
    CompletesForAnyone,
    ShortLeases,
}

/// Whose the clients are: the first two are devices of one principal.
const OWNERS: [&str; 3] = ["ann", "ann", "bob"];
const PRINCIPALS: usize = 2;

/// Simulations come one after the other, because tokio counts the tasks of a process.
static ONE: Mutex<()> = Mutex::new(());

/// How far the network and the machines go at a time.
const TICK: Duration = Duration::from_millis(20);

/// Who decides by chance, each from numbers of its own.
const WORLD: u64 = 100;
const FAULTS: u64 = 101;

impl Default for Simulation {
    fn default() -> Self {
        Self {
            store: StoreKind::Right,
            handling: Handling::Protected,
        }
    }
}

impl Simulation {
    /// What happened; or which promise was broken, and what happened before.
    pub(crate) fn run(self, seed: u64) -> Result<Vec<String>, String> {
        let _one = ONE.lock();
        seed_this_thread(seed);
        align_tasks();
        let world = World::new(Rng::of(seed, WORLD));
        let done = self.simulate(seed, &world);
        if let Err(error) = done {
            world.breaks(error.to_string());
        }
        let verdict = world.into_verdict(PRINCIPALS * ORDERS);
        verdict.map_err(|(broken, trace)| format!("{broken}\n{}", trace.join("\n")))
    }

    fn simulate(self, seed: u64, world: &World) -> turmoil::Result {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .enable_random_order()
            .tick_duration(TICK)
            .max_message_latency(Duration::from_millis(80))
            .simulation_duration(QUIET_AFTER + REST)
            .build();
        let (mail, clock) = (Mail::default(), Clock::manual());
        let rows = Arc::new(Rows::new(clock.clone(), false));
        let store = if self.handling.is_transactional() {
            Arc::clone(&rows) as Arc<dyn Store>
        } else {
            self.store(&clock, world)
        };
        sim.host(STORE, {
            let mail = mail.clone();
            move || serve_store(Arc::clone(&store), clock.clone(), mail.clone())
        });
        for service in SERVICES {
            let (mail, world, handling) = (mail.clone(), world.clone(), self.handling);
            let rows = Arc::clone(&rows);
            sim.host(service, move || {
                serve_bookings(mail.clone(), world.clone(), handling, Arc::clone(&rows))
            });
        }
        for (number, (client, owner)) in (0..).zip(CLIENTS.into_iter().zip(OWNERS)) {
            let rng = Rng::of(seed, number);
            sim.client(client, client::run(owner, world.clone(), rng));
        }
        let mut faults = Faults::new(Rng::of(seed, FAULTS));
        while !sim.step()? && !world.is_broken() {
            faults.step(&mut sim, world);
        }
        if self.handling.is_transactional() && rows.rows().len() != PRINCIPALS * ORDERS {
            world.breaks(format!("these rows are committed: {:?}", rows.rows()));
        }
        Ok(())
    }

    /// The records outlive the machine of the store.
    fn store(self, clock: &Clock, world: &World) -> Arc<dyn Store> {
        let memory = MemoryStore::new().with_clock(clock.clone());
        match self.store {
            StoreKind::Right => watched(memory, clock, world),
            StoreKind::CompletesForAnyone => {
                watched(Delegate(CompletesForAnyone(memory)), clock, world)
            }
            StoreKind::ShortLeases => watched(Delegate(ShortLeases(memory)), clock, world),
        }
    }
}

/// Lets each simulation begin at an equal place in that count: a machine that crashes drops its tasks, and so closes its connections, in
/// an order that depends on it.
fn align_tasks() {
    let runtime = runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let spawned = || runtime.spawn(async {}).id().to_string();
    let is_aligned = |id: String| id.parse::<u64>().expect("a number") % 64 == 0;
    while !is_aligned(spawned()) {}
}

fn watched(store: impl Store, clock: &Clock, world: &World) -> Arc<dyn Store> {
    Arc::new(Delegate(Watched {
        store,
        clock: clock.clone(),
        world: world.clone(),
        keys: Mutex::default(),
    }))
}
