//! Handlers that are interrupted everywhere, right ones and wrong ones.

// The example's handler, as it is.
#[path = "../../examples/payment/bookings.rs"]
mod bookings;
#[expect(dead_code, reason = "nothing here tells the service to die")]
#[path = "../../examples/payment/crash.rs"]
mod crash;
mod payment;
#[expect(dead_code, reason = "requests are not counted here")]
#[path = "../../examples/payment/provider.rs"]
mod provider;
mod rows;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    handler::Handler,
    http::{Request, StatusCode},
    response,
    routing::post,
};
use idempotency::{
    Execution, Idempotency, idempotent,
    testing::{Interrupted, Interruption, Report, Trial, TrialStore, interrupt_everywhere},
};
use parking_lot::Mutex;
use tokio::task::yield_now;

/// A provider that charges once for each key, and counts requests.
#[derive(Clone, Default)]
struct Provider {
    charged: Arc<Mutex<HashSet<String>>>,
    requests: Arc<AtomicUsize>,
}

impl Provider {
    async fn charge(self, key: String) -> Result<String, StatusCode> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.charged.lock().insert(key.clone());
        // The reply takes its time.
        yield_now().await;
        Ok(key)
    }

    fn charges(&self) -> usize {
        self.charged.lock().len()
    }
}

fn request() -> Request<Body> {
    let request = Request::post("/").header("Idempotency-Key", "\"1\"");
    request.body(Body::empty()).unwrap()
}

fn report<T: 'static>(
    handler: impl Handler<T, Provider> + Copy,
    effects: impl Fn(&Provider) -> usize + Copy + Send + 'static,
) -> Report {
    interrupt_everywhere(move || {
        let provider = Provider::default();
        let counted = provider.clone();
        let app = move |store: TrialStore| -> Router {
            Router::new()
                .route("/", post(handler))
                .layer(Extension(Idempotency::new(store)))
                .with_state(provider.clone())
        };
        Trial::new(app, request, move || effects(&counted))
    })
}

fn by(report: &Report, interruption: Interruption) -> Vec<&Interrupted> {
    let trials = report.trials.iter();
    trials
        .filter(|trial| trial.interruption == interruption)
        .collect()
}

#[idempotent]
async fn with_child_key(State(provider): State<Provider>, execution: Execution) -> StatusCode {
    let charge = provider.charge(execution.child_key("charge")).await;
    charge.map_or_else(|status| status, |_| StatusCode::CREATED)
}

// proves: handler-interrupted-everywhere
#[test]
fn a_charge_under_a_child_key_is_one_wherever_the_request_is_interrupted() {
    let report = report(with_child_key, Provider::charges);
    report.assert_effects(1).assert_answered();
    assert_eq!(report.status, StatusCode::CREATED);
    // Claim, handler and completion are all interrupted, in each way.
    for place in [
        "before claim",
        "after claim",
        "before complete",
        "after complete",
    ] {
        for interruption in [Interruption::Crash, Interruption::Disconnect] {
            let mut trials = by(&report, interruption).into_iter();
            assert!(
                trials.any(|trial| trial.place == place),
                "{interruption}, {place}:\n{report}"
            );
        }
    }
    for interruption in [Interruption::StoreUnreached, Interruption::ReplyLost] {
        let places: Vec<_> = by(&report, interruption)
            .into_iter()
            .map(|trial| &*trial.place)
            .collect();
        assert_eq!(places, ["claim", "complete"], "{report}");
    }
}

#[idempotent]
async fn with_step(
    State(provider): State<Provider>,
    execution: Execution,
) -> response::Result<StatusCode> {
    let key = execution.child_key("charge");
    execution.step("charge", provider.charge(key)).await?;
    yield_now().await;
    Ok(StatusCode::CREATED)
}

// proves: handler-interrupted-everywhere
#[test]
fn a_finished_step_is_not_asked_for_again() {
    let report = report(with_step, |provider| {
        provider.requests.load(Ordering::Relaxed)
    });
    report.assert_answered();
    let mut crashes = by(&report, Interruption::Crash).into_iter();
    let kept = crashes
        .by_ref()
        .skip_while(|crash| crash.place != "after checkpoint");
    let requests: Vec<_> = kept.map(|crash| crash.effects).collect();
    assert!(
        requests.len() > 2 && requests.iter().all(|requests| *requests == 1),
        "{report}"
    );
    // And the provider is asked again where it was not known to have replied.
    assert!(
        by(&report, Interruption::Crash)
            .iter()
            .any(|crash| crash.effects == 2),
        "{report}"
    );
}

#[idempotent]
async fn unkeyed(State(provider): State<Provider>) -> StatusCode {
    let number = provider.requests.load(Ordering::Relaxed);
    let charge = provider.charge(format!("charge {number}")).await;
    charge.map_or_else(|status| status, |_| StatusCode::CREATED)
}

// proves: handler-interrupted-everywhere
#[test]
fn a_handler_whose_charge_has_a_new_key_on_each_attempt_is_found() {
    let report = report(unkeyed, Provider::charges);
    let twice: Vec<_> = report
        .trials
        .iter()
        .filter(|trial| trial.effects == 2)
        .collect();
    assert!(
        twice
            .iter()
            .all(|trial| trial.interruption == Interruption::Crash),
        "{report}"
    );
    assert!(
        twice.iter().any(|trial| trial.place == "before complete"),
        "{report}"
    );
    let panic = std::panic::catch_unwind(|| {
        report.assert_effects(1);
    });
    let message = panic.expect_err("it is found");
    let message = message.downcast_ref::<String>().expect("a text");
    assert!(
        message.contains("crash, before complete: 2 effects"),
        "{message}"
    );
}

/// Not protected at all.
async fn unprotected(State(provider): State<Provider>) -> StatusCode {
    unkeyed(State(provider)).await
}

// proves: handler-interrupted-everywhere
#[test]
#[should_panic(expected = "called no TrialStore")]
fn a_handler_without_protection_is_no_trial() {
    report(unprotected, Provider::charges);
}

#[idempotent(on_lost = "refuse")]
async fn refusing(State(provider): State<Provider>) -> StatusCode {
    unkeyed(State(provider)).await
}

// proves: handler-interrupted-everywhere
#[test]
fn a_handler_that_refuses_lost_runs_has_one_effect_and_open_ends() {
    let report = report(refusing, Provider::charges);
    assert!(
        report.trials.iter().all(|trial| trial.effects <= 1),
        "{report}"
    );
    let open: Vec<_> = report
        .trials
        .iter()
        .filter(|trial| !trial.is_answered)
        .collect();
    assert!(
        open.iter().any(|trial| trial.place == "before complete"),
        "{report}"
    );
    assert!(
        open.iter()
            .all(|trial| trial.responses.last() == Some(&StatusCode::CONFLICT)),
        "{report}"
    );
}

/// It takes the money, and then refuses in its own words.
#[idempotent]
async fn conflicting(State(provider): State<Provider>, execution: Execution) -> StatusCode {
    let charge = provider.charge(execution.child_key("charge")).await;
    yield_now().await;
    charge.map_or_else(|status| status, |_| StatusCode::CONFLICT)
}

// proves: handler-interrupted-everywhere
#[test]
fn a_handler_s_own_conflict_is_told_from_that_of_a_running_request() {
    let report = report(conflicting, Provider::charges);
    report.assert_effects(1).assert_answered();
    assert_eq!(report.status, StatusCode::CONFLICT);
    let disconnections = by(&report, Interruption::Disconnect);
    assert!(disconnections.len() > 4, "{report}");
}

#[tokio::test]
async fn an_asynchronous_test_may_interrupt_too() {
    report(with_child_key, Provider::charges).assert_effects(1);
}
