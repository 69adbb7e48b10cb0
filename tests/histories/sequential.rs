//! Calls one after another: each reply is that of the reference, or the shortest sequence with another reply is printed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use idempotency::store::{ListRequest, ListedPhase, RecordId, Token};
use proptest::{
    prelude::{BoxedStrategy, Just, Strategy, prop_oneof},
    strategy::{Union, ValueTree},
    test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner},
};
use proptest_state_machine::ReferenceStateMachine;
use tokio::runtime::Runtime;

use crate::{
    backend::Backend,
    call::{Call, Verb},
    reference::Reference,
    seeds::Seeds,
    strategy::{call, units},
};

/// How many keys a sequence has, and how many owners: a store has to remember as many spent tokens of a key.
const KEYS: u8 = 3;
const OWNERS: u8 = 8;

const STEPS: usize = 40;

/// What is done next.
#[derive(Clone, Debug)]
enum Step {
    Call(Call),
    Advance(u8),
    Sweep,
    List(Option<ListedPhase>),
    /// The process with the store is killed, where it leaves something.
    Kill,
}

/// The keys, as the reference has them.
#[derive(Clone, Debug)]
struct Keys {
    references: Vec<Reference>,
    inspected: Vec<Option<Token>>,
}

impl Keys {
    fn new(reference: impl Fn(u8) -> Reference) -> Self {
        Self {
            references: (0..KEYS).map(reference).collect(),
            inspected: vec![None; usize::from(KEYS)],
        }
    }

    fn advance(&mut self, units: u8) {
        self.references
            .iter_mut()
            .for_each(|key| key.advance(units));
    }
}

impl ReferenceStateMachine for Keys {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let new = |key| Reference::new(Backend::id(0, key), SystemTime::UNIX_EPOCH);
        Just(Self::new(new)).boxed()
    }

    /// Half of the calls are those of the key's owner, if it has one.
    fn transitions(keys: &Self) -> BoxedStrategy<Step> {
        let calls = (0..KEYS).zip(&keys.references);
        let calls = calls.map(|(key, reference)| match reference.owner() {
            Some(owner) => call(Just(key), prop_oneof![Just(owner), 0..OWNERS]).boxed(),
            None => call(Just(key), 0..OWNERS).boxed(),
        });
        let phase = prop_oneof![
            Just(None),
            Just(Some(ListedPhase::InFlight)),
            Just(Some(ListedPhase::Lapsed)),
            Just(Some(ListedPhase::Completed)),
        ];
        prop_oneof![
            20 => Union::new(calls).prop_map(Step::Call),
            2 => units().prop_map(Step::Advance),
            1 => Just(Step::Sweep),
            1 => phase.prop_map(Step::List),
            1 => Just(Step::Kill),
        ]
        .boxed()
    }

    fn apply(mut keys: Self, step: &Step) -> Self {
        match step {
            Step::Call(call) => {
                let key = usize::from(call.key);
                let reply = keys.references[key].apply(call, keys.inspected[key]);
                if call.verb == Verb::Inspect {
                    keys.inspected[key] = reply.inspected();
                }
            }
            Step::Advance(by) => keys.advance(*by),
            Step::Sweep | Step::List(_) | Step::Kill => {}
        }
        keys
    }
}

/// A sequence on a store, beside the reference.
struct Tested<'a> {
    backend: &'a Backend,
    /// Its keys have later ids.
    before: RecordId,
    keys: Keys,
}

impl<'a> Tested<'a> {
    async fn new(backend: &'a Backend, number: u64) -> Self {
        let now = backend.now(number).await;
        Self {
            backend,
            before: Backend::before(number),
            keys: Keys::new(|key| backend.reference(number, key, now)),
        }
    }

    /// Fails if the store replies otherwise than the reference.
    async fn apply(&mut self, step: &Step) -> Result<(), String> {
        let process = self.backend.process().await;
        let store = &*process.store;
        match step {
            Step::Call(call) => {
                let call = &self.backend.adapted(call);
                let key = usize::from(call.key);
                let (reference, inspected) = (
                    &mut self.keys.references[key],
                    &mut self.keys.inspected[key],
                );
                let reply = call.perform(store, reference.id(), *inspected).await;
                let reply = reply.map_err(|error| format!("{error:?}"))?;
                let expected = reference.clone().apply(call, *inspected);
                if !reference.accepts(call, *inspected, &reply) {
                    return Err(format!("the store replies {reply:?}, and not {expected:?}"));
                }
                if call.verb == Verb::Inspect {
                    *inspected = reply.inspected();
                }
            }
            Step::Advance(by) => {
                self.backend.advance(*by);
                self.keys.advance(*by);
            }
            Step::Sweep => {
                let swept = store.purge_expired(1000).await;
                swept.map_err(|error| format!("{error:?}"))?;
            }
            Step::Kill => self.backend.kill_process().await,
            Step::List(phase) => {
                let mut request = ListRequest::new(usize::from(KEYS)).after(self.before);
                request.phase = *phase;
                let listed = store.list(&request).await;
                let listed = listed.map_err(|error| format!("{error:?}"))?;
                if !listed.is_sorted_by(|one, next| one.id < next.id) {
                    return Err(format!("the store does not list in order: {listed:?}"));
                }
                for reference in &mut self.keys.references {
                    if !reference.accepts_listed(&request, &listed) {
                        let expected = reference.record();
                        return Err(format!("the store lists {listed:?}, with {expected:?}"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Does so many sequences on stores that this opens; `None` where there are none.
pub(crate) fn check(
    many: u64,
    open: impl AsyncFn() -> Option<Backend>,
) -> Option<Result<(), String>> {
    let runtime = Runtime::new().expect("a runtime");
    let mut backend = runtime.block_on(open())?;
    let number = AtomicU64::new(0);
    for (count, seed) in Seeds::of(many).each().enumerate() {
        // What a test does to let time pass takes longer with each record.
        if count > 0 && count % 16 == 0 {
            backend = runtime.block_on(open())?;
        }
        let mut runner = runner(seed);
        let done = runner.run(&sequences(), |(_, steps, counted)| {
            let number = number.fetch_add(1, Ordering::SeqCst);
            runtime.block_on(async {
                let mut tested = Tested::new(&backend, number).await;
                for step in steps {
                    // What was not done is what is left out first.
                    if let Some(counted) = &counted {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                    tested.apply(&step).await.map_err(TestCaseError::fail)?;
                }
                Ok(())
            })
        });
        match done {
            Ok(()) => {}
            Err(TestError::Fail(why, (_, steps, _))) => {
                let steps = steps.iter().map(|step| format!("\n    {step:?}"));
                let steps: String = steps.collect();
                return Some(Err(format!("HISTORIES_SEED={seed}: after{steps}\n{why}")));
            }
            Err(TestError::Abort(why)) => panic!("HISTORIES_SEED={seed}: {why}"),
        }
    }
    Some(Ok(()))
}

fn runner(seed: u64) -> TestRunner {
    TestRunner::new(Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 2000,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    })
}

fn sequences() -> impl Strategy<Value = (Keys, Vec<Step>, Option<Arc<AtomicUsize>>)> {
    Keys::sequential_strategy(STEPS / 2..STEPS)
}

/// Each verb with each kind of reply that so many sequences meet.
pub(crate) fn met(many: u64) -> BTreeSet<String> {
    let mut met = BTreeSet::new();
    for seed in 0..many {
        let tree = sequences().new_tree(&mut runner(seed));
        let (mut keys, steps, _) = tree.expect("a sequence").current();
        for step in steps {
            if let Step::Call(call) = &step {
                let key = usize::from(call.key);
                let reply = keys.references[key]
                    .clone()
                    .apply(call, keys.inspected[key]);
                met.insert(format!("{}: {}", call.verb.name(), reply.name()));
            }
            keys = Keys::apply(keys, &step);
        }
    }
    met
}
