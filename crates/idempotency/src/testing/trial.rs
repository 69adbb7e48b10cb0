use std::{convert::Infallible, fmt, future::poll_fn, pin::Pin, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, StatusCode};

use super::{
    Interrupted, Interruption, Report, TrialStore,
    points::Points,
    process::{Process, Sent},
};
use crate::{Clock, MemoryStore, Store};

pub(super) type Response = http::Response<Body>;

pub(super) type Service =
    Box<dyn Fn(Request<Body>) -> Pin<Box<dyn Future<Output = Response> + Send>>>;

/// How many points in a row no run reaches before there are no more.
const MAX_MISSED: usize = 3;

/// How many processes one after the other get the request, before the client gives up.
const MAX_PROCESSES: usize = 10;

/// By how much each new process is later: more than a lease, unless the handler sets a very long one.
const LATER: Duration = Duration::from_secs(60);

/// One request, the service that gets it, and its effects.
pub struct Trial {
    pub(super) process: Box<dyn Fn(TrialStore) -> Service + Send>,
    pub(super) request: Box<dyn Fn() -> Request<Body> + Send>,
    effects: Box<dyn Fn() -> usize + Send>,
    pub(super) store: Arc<dyn Store>,
    clock: Clock,
}

impl Trial {
    /// A service, such as a `Router`, the request that it gets, and how many effects there have been.
    ///
    /// The service is built anew after a crash, with the store that it is given. What survives a crash, such as a database, or what stands for a payment provider, is
    /// made outside of that function. The request is the same each time, with the same key.
    pub fn new<S>(
        process: impl Fn(TrialStore) -> S + Send + 'static,
        request: impl Fn() -> Request<Body> + Send + 'static,
        effects: impl Fn() -> usize + Send + 'static,
    ) -> Self
    where
        S: tower_service::Service<Request<Body>, Response = Response, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let process = move |store| -> Service {
            let service = process(store);
            Box::new(move |request| {
                let mut service = service.clone();
                Box::pin(async move {
                    let Ok(()) = poll_fn(|context| service.poll_ready(context)).await;
                    let Ok(response) = service.call(request).await;
                    response
                })
            })
        };
        let clock = Clock::manual();
        Self {
            process: Box::new(process),
            request: Box::new(request),
            effects: Box::new(effects),
            store: Arc::new(MemoryStore::new().with_clock(clock.clone())),
            clock,
        }
    }

    /// Stores keys here, in place of a memory store. The store has to use this clock, which is [manual](Clock::manual): leases expire by it.
    ///
    /// Transactions find the store behind the [`TrialStore`], so a handler that commits is tried with the store of its database.
    #[must_use]
    pub fn with_store(mut self, store: impl Store, clock: Clock) -> Self {
        (self.store, self.clock) = (Arc::new(store), clock);
        self
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Trial");
        debug.field("store", &self.store).finish_non_exhaustive()
    }
}

pub(super) fn everywhere(trial: &dyn Fn() -> Trial) -> Report {
    let (status, effects) = uninterrupted(&trial());
    let of_one = |interruption| of_each_point(trial, interruption, status);
    let trials = Interruption::ALL.into_iter().flat_map(of_one).collect();
    Report {
        status,
        effects,
        trials,
    }
}

/// The trials of one interruption. Where awaits differ from run to run, one run may miss a point, so the points end only when several
/// runs in a row have not reached them.
fn of_each_point(
    trial: &dyn Fn() -> Trial,
    interruption: Interruption,
    expected: StatusCode,
) -> Vec<Interrupted> {
    let (mut trials, mut missed) = (Vec::new(), 0);
    for point in 0.. {
        match interrupted(&trial(), interruption, point, expected) {
            Some(interrupted) => {
                trials.push(interrupted);
                missed = 0;
            }
            None => missed += 1,
        }
        if missed == MAX_MISSED {
            break;
        }
    }
    trials
}

fn uninterrupted(trial: &Trial) -> (StatusCode, usize) {
    let process = Process::start(trial, Points::default());
    let Sent::Answered(answer) = process.send_until((trial.request)(), None) else {
        unreachable!("there is no await at which to stop")
    };
    assert!(
        process.points.calls() > 0,
        "the request called no TrialStore: build the engine with the one that the trial gives"
    );
    assert!(
        !answer.is_transient,
        "the uninterrupted request has no final response, but {}",
        answer.status
    );
    (answer.status, (trial.effects)())
}

/// Interrupts the request at the point of this number, unless it has fewer.
fn interrupted(
    trial: &Trial,
    interruption: Interruption,
    point: usize,
    expected: StatusCode,
) -> Option<Interrupted> {
    let (points, awaits) = if interruption.is_of_the_store() {
        (Points::failing(point, interruption), None)
    } else {
        (Points::default(), Some(point))
    };
    let mut process = Process::start(trial, points);
    let mut responses = Vec::new();
    let mut is_final = false;
    let place = match process.send_until((trial.request)(), awaits) {
        Sent::Interrupted(place) => place,
        Sent::Answered(answer) => {
            responses.push(answer.status);
            is_final = !answer.is_transient;
            process.points.failed()?.to_owned()
        }
    };
    if interruption == Interruption::Crash {
        drop(process);
        process = later(trial);
    }
    for _ in 0..MAX_PROCESSES {
        is_final = is_final || process.send_until_final(trial, &mut responses);
        if is_final {
            break;
        }
        // A process may have what the next one needs, such as the lock of a file.
        drop(process);
        process = later(trial);
    }
    Some(Interrupted {
        interruption,
        place,
        effects: (trial.effects)(),
        is_answered: responses.last() == Some(&expected),
        responses,
    })
}

/// The next process, which starts when the lease of the one before it has expired.
fn later(trial: &Trial) -> Process {
    trial.clock.advance(LATER);
    Process::start(trial, Points::default())
}
