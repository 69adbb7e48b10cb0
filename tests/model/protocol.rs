//! The protocol as a model for stateright: what must always be true of it.

use idempotency::{
    __model1::{AfterClaim, after_claim},
    OnLost,
    store::{ClaimRequest, Phase as RecordPhase},
};
use stateright::{Model, Property};

use crate::{
    actions::Action,
    config::Config,
    world::{Answer, LEASE, Phase, World, asked, at, hold},
};

#[derive(Clone)]
pub(crate) struct Protocol(pub(crate) Config);

pub(crate) const ONE_HOLD: &str = "a key has one run at a time";
pub(crate) const OWNERS_ONLY: &str =
    "only the owner changes a record, and no kept step is repeated";
pub(crate) const ONE_COMMIT: &str = "one transaction commits";
pub(crate) const NO_ORPHAN: &str = "no claim stays without a run";
pub(crate) const ANSWERED: &str = "every retry is answered in the end";

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let config = &self.0;
        let (requests, faults) = (config.requests, config.faults);
        vec![World::new(
            requests,
            faults,
            config.crashes,
            config.renewals,
        )]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_none() {
            actions.extend(world.possible(&self.0));
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let next = world.after(&self.0, action);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(ONE_HOLD, |_, world: &World| {
                let is_live = |now| {
                    let works = world.requests.iter().filter(|request| request.works());
                    works
                        .filter(move |request| now < request.lease_until)
                        .count()
                };
                is_live(world.now) <= 1
            }),
            Property::always(OWNERS_ONLY, |_, world: &World| world.broken.is_none()),
            Property::always(ONE_COMMIT, |_, world: &World| world.commits <= 1),
            Property::always(NO_ORPHAN, |_, world: &World| world.has_no_orphan()),
            Property::always(ANSWERED, |model: &Self, world: &World| {
                // Every other world becomes one without messages.
                !world.network.is_empty()
                    || world.broken.is_some()
                    || world.clone().answers_in_the_end(&model.0)
            }),
            // Without this and the next the model could be true of nothing.
            Property::sometimes("a request is carried out", |_, world: &World| {
                world
                    .record()
                    .is_some_and(|record| matches!(record.phase, RecordPhase::Completed { .. }))
            }),
        ];
        if !self.0.is_transactional {
            properties.push(Property::sometimes(
                "a later attempt resumes with the step, and ends",
                |_, world: &World| {
                    world.requests.iter().any(|request| {
                        let is_executed = request.phase == Phase::Answered(Answer::Executed);
                        request.attempt > 1 && request.follows_step && is_executed
                    })
                },
            ));
        }
        properties
    }
}

impl World {
    /// A lease that has not lapsed belongs to a run, to a process that died, or to a message that is still on its way.
    fn has_no_orphan(&self) -> bool {
        let Some(record) = self.record() else {
            return true;
        };
        let RecordPhase::InFlight { lease_until, .. } = record.phase else {
            return true;
        };
        lease_until <= self.time()
            || (0..self.len()).any(|from| {
                let is_own = hold(from, 0).token == record.token;
                let request = &self.requests[usize::from(from)];
                let is_over = matches!(request.phase, Phase::NotSent | Phase::Answered(_));
                let is_stray = request.has_stray_claim;
                is_own && (!is_over || is_stray || self.has_message(from, None))
            })
    }

    /// Lets everything go on without a further fault, and then sends one more request.
    fn answers_in_the_end(mut self, config: &Config) -> bool {
        for _ in 0..100 {
            let Some(action) = self.next_without_faults(config) else {
                return self.answers_a_retry(config);
            };
            self = self.after(config, action);
        }
        false
    }

    fn next_without_faults(&self, config: &Config) -> Option<Action> {
        let is_fair = |action: &Action| {
            matches!(
                action,
                Action::Deliver(_) | Action::Resend(_) | Action::TakeStep(_) | Action::Finish(_)
            )
        };
        self.possible(config).into_iter().find(is_fair)
    }

    /// A lost run has to be over for a lease, and for a ttl where it is not taken over.
    fn answers_a_retry(&mut self, config: &Config) -> bool {
        let (asked, retry) = (asked(), hold(100, config.ttl));
        let request = ClaimRequest::new(&retry, &asked.fingerprint, config.on_lost);
        let last = match config.on_lost {
            OnLost::TakeOver => LEASE,
            _ => LEASE + config.ttl,
        };
        [0, last].iter().any(|&later| {
            let mut entry = self.entry.0.clone();
            let claimed = (config.rules.claim)(&mut entry, request, at(self.now + later));
            claimed.reply.is_ok_and(|claim| {
                let decided = after_claim(&asked, claim);
                matches!(decided, AfterClaim::Run { .. } | AfterClaim::Replay { .. })
            })
        })
    }
}
