//! The verdict, once the kills are over.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::{
    bookings::Bookings,
    clients::Caller,
    crash_world::CrashWorld,
    ledger::{Breach, Ledger},
};

/// How many keys are requested concurrently.
const AT_ONCE: usize = 8;

/// Reads the database, sends every key to every service, and reads again. Afterwards the ledger has every
/// breach.
pub(crate) async fn judge(world: &Arc<CrashWorld>, ledger: &Arc<Ledger>, caller: Caller) {
    let keys = ledger.keys();
    let (bookings, _) = world.look().await;
    count(ledger, &bookings, &keys);

    let asked = stream::iter(&keys).for_each_concurrent(AT_ONCE, |(key, is_acknowledged)| {
        let mut caller = caller.clone();
        async move {
            for service in 0..world.services.len() {
                let told = caller.insist(key, Some(service)).await;
                if told == Some(false) && *is_acknowledged {
                    ledger.report(Breach::Unmarked(key.clone()));
                }
            }
        }
    });
    asked.await;

    let keys = ledger.keys();
    let (bookings, in_flight) = world.look().await;
    count(ledger, &bookings, &keys);
    for service in &world.services {
        if !service.process.lock().await.is_alive() {
            ledger.report(Breach::Ended(service.address.clone()));
        }
    }
    if in_flight > 0 {
        ledger.report(Breach::InFlight(in_flight));
    }
}

/// One booking for each acknowledged key, and at most one for each other key.
fn count(ledger: &Ledger, bookings: &Bookings, keys: &[(String, bool)]) {
    for (key, is_acknowledged) in keys {
        match bookings.get(key) {
            None if *is_acknowledged => ledger.report(Breach::Lost(key.clone())),
            None | Some(1) => {}
            Some(&several) => ledger.report(Breach::Duplicate(key.clone(), several)),
        }
    }
}
