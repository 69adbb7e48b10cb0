//! What the callers of a concurrent history do, all of it from one number.

use proptest::{
    collection::vec,
    option,
    prelude::{Just, Strategy, any, prop_oneof},
    strategy::ValueTree,
    test_runner::{Config, RngSeed, TestRunner},
};

use crate::{
    call::Call,
    strategy::{call, units},
};

/// How many keys a concurrent history has.
pub(crate) const KEYS: u8 = 2;

/// The most callers. Each has two tokens, and a key has room for that many spent ones.
const CALLERS: u8 = 4;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) phases: Vec<Phase>,
}

/// The callers work, and then the clock is moved.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) callers: Vec<Vec<Act>>,
    /// Whether the callers wait for each other before each call, so that even the calls of a fast store overlap.
    pub(crate) is_in_step: bool,
    /// What goes wrong once so many calls of this phase have been sent.
    pub(crate) faults: Vec<(usize, Fault)>,
    pub(crate) units: u8,
}

#[derive(Clone, Debug)]
pub(crate) enum Act {
    Call {
        call: Call,
        /// The caller leaves after so many polls, unless it has its reply by then.
        leaves_after: Option<u8>,
    },
    List,
    Sweep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The next reply of the server is lost, and its connection.
    LostReply,
    /// The server is killed, and started again; or without a server the process that has the store.
    Kill,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let mut runner = TestRunner::new(Config {
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..Config::default()
        });
        let phases = (2..=CALLERS).prop_flat_map(|callers| vec(phase(callers), 3..=4));
        let tree = phases.new_tree(&mut runner).expect("a plan");
        Self {
            phases: tree.current(),
        }
    }
}

fn phase(callers: u8) -> impl Strategy<Value = Phase> {
    let callers: Vec<_> = (0..callers).map(|caller| vec(act(caller), 4..=6)).collect();
    let fault = prop_oneof![3 => Just(Fault::LostReply), 1 => Just(Fault::Kill)];
    let faults = vec((0..12_usize, fault), 0..=2);
    (callers, any::<bool>(), faults, units()).prop_map(|(callers, is_in_step, faults, units)| {
        let fewest = callers.iter().map(Vec::len).min().unwrap_or(0);
        let cut = |mut acts: Vec<Act>| {
            acts.truncate(fewest);
            acts
        };
        Phase {
            callers: callers.into_iter().map(cut).collect(),
            is_in_step,
            faults,
            units,
        }
    })
}

/// A caller uses its own tokens, except where an old call of another one comes late.
fn act(caller: u8) -> impl Strategy<Value = Act> {
    let own = caller * 2;
    let owners = prop_oneof![8 => Just(own), 3 => Just(own + 1), 1 => 0..CALLERS * 2];
    let leaves_after = option::weighted(0.1, 0..4_u8);
    let calls = (call(0..KEYS, owners), leaves_after);
    prop_oneof![
        30 => calls.prop_map(|(call, leaves_after)| Act::Call { call, leaves_after }),
        1 => Just(Act::List),
        1 => Just(Act::Sweep),
    ]
}
