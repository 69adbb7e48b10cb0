//! What is outside of the simulated machines: what they did, in the order in which they did it, and whether that may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::rng::Rng;

/// Shared by all machines. It is no part of any, so it survives their crashes.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    rng: Rng,
    /// The time of the network, where no machine runs.
    time: Duration,
    trace: Vec<String>,
    /// The first promise that was broken.
    broken: Option<String>,
    runs: u32,
    operations: BTreeMap<String, Operation>,
}

/// What one principal wants to happen once.
#[derive(Debug, Default)]
struct Operation {
    /// How many claims of it the store let win.
    wins: usize,
    runs: usize,
    /// The keys under which the provider was asked to charge, each of which it charges once.
    charges: BTreeSet<String>,
    /// How many completions the store took: effects that are stored with the response.
    commits: usize,
    /// Those that are stored.
    responses: BTreeSet<String>,
}

impl World {
    pub(crate) fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(Seen {
            rng,
            time: Duration::ZERO,
            trace: Vec::new(),
            broken: None,
            runs: 0,
            operations: BTreeMap::new(),
        })))
    }

    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().note(&what.into());
    }

    /// Notes that a promise is broken.
    pub(crate) fn breaks(&self, what: impl Into<String>) {
        let (what, mut seen) = (what.into(), self.0.lock());
        seen.note(&format!("BROKEN: {what}"));
        seen.broken.get_or_insert(what);
    }

    pub(crate) fn set_time(&self, time: Duration) {
        self.0.lock().time = time;
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.0.lock().broken.is_some()
    }

    /// A time that chance decides.
    pub(crate) fn pause(&self, longest: u64) -> Duration {
        self.0.lock().rng.milliseconds(0..longest)
    }

    pub(crate) fn wins(&self, operation: &str) {
        self.0.lock().operation(operation).wins += 1;
    }

    pub(crate) fn commits(&self, operation: &str) {
        self.0.lock().operation(operation).commits += 1;
    }

    /// The number of a run that begins.
    pub(crate) fn runs(&self, operation: &str, attempt: u32) -> u32 {
        let mut seen = self.0.lock();
        seen.runs += 1;
        let run = seen.runs;
        seen.operation(operation).runs += 1;
        seen.note(&format!("run {run} of {operation}, attempt {attempt}"));
        run
    }

    /// The number of a run that claims nothing before its commit.
    pub(crate) fn tries(&self, operation: &str) -> u32 {
        let mut seen = self.0.lock();
        seen.runs += 1;
        let run = seen.runs;
        seen.note(&format!("run {run} of {operation}"));
        run
    }

    pub(crate) fn charges(&self, operation: &str, key: String) {
        self.0.lock().operation(operation).charges.insert(key);
    }

    /// A client has its response. One that is not stored yet is the only one if the service can still store it.
    pub(crate) fn responds(&self, operation: &str, response: &str, is_stored: bool) {
        let mut seen = self.0.lock();
        let which = if is_stored { "" } else { ", not stored yet" };
        seen.note(&format!("{operation} gets {response}{which}"));
        let is_own = response.starts_with(&format!("{operation} by "));
        if is_stored {
            let responses = &mut seen.operation(operation).responses;
            responses.insert(response.to_owned());
        }
        drop(seen);
        if !is_own {
            self.breaks(format!(
                "{operation} gets {response}, another one's response"
            ));
        }
    }

    /// What happened, or which promise was broken.
    pub(crate) fn into_verdict(self, many: usize) -> Result<Vec<String>, (String, Vec<String>)> {
        let mut seen = self.0.lock();
        if seen.operations.len() != many {
            let found = seen.operations.len();
            seen.broken
                .get_or_insert(format!("{found} of {many} operations were done"));
        }
        let broken = seen.operations.iter().find_map(|(name, operation)| {
            let broken = operation.broken()?;
            Some(format!("{name}: {broken}: {operation:?}"))
        });
        let trace = std::mem::take(&mut seen.trace);
        match seen.broken.take().or(broken) {
            Some(broken) => Err((broken, trace)),
            None => Ok(trace),
        }
    }
}

impl Seen {
    fn note(&mut self, what: &str) {
        let time = if turmoil::in_simulation() {
            turmoil::sim_elapsed().unwrap_or_default()
        } else {
            self.time
        };
        self.trace
            .push(format!("{:7.3} {what}", time.as_secs_f64()));
    }

    fn operation(&mut self, name: &str) -> &mut Operation {
        self.operations.entry(name.to_owned()).or_default()
    }
}

impl Operation {
    fn broken(&self) -> Option<&'static str> {
        if self.responses.len() != 1 {
            Some("its clients got different responses")
        } else if self.commits != 1 {
            Some("what is stored with the response did not happen once")
        } else if self.charges.len() != 1 {
            Some("the provider did not charge once")
        } else if self.runs > self.wins {
            Some("it ran more often than its key was won")
        } else {
            None
        }
    }
}
