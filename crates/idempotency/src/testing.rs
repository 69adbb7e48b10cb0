//! Interrupts a request at every point, sends it again, and counts its effects.
//!
//! ```
//! use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
//!
//! use axum::{Extension, Router, body::Body, extract::State, http::{Request, StatusCode}, routing::post};
//! use idempotency::{Execution, Idempotency, idempotent, testing::{TrialStore, Trial, interrupt_everywhere}};
//!
//! /// A payment provider that charges once for each key, as providers do.
//! type Charges = Arc<parking_lot::Mutex<std::collections::HashSet<String>>>;
//!
//! #[idempotent(ttl_seconds = 3600)]
//! async fn pay(State(charges): State<Charges>, execution: Execution) -> StatusCode {
//!     charges.lock().insert(execution.child_key("charge"));
//!     StatusCode::CREATED
//! }
//!
//! fn app(store: TrialStore, charges: Charges) -> Router {
//!     Router::new()
//!         .route("/payments", post(pay))
//!         .layer(Extension(Idempotency::new(store)))
//!         .with_state(charges)
//! }
//!
//! let report = interrupt_everywhere(|| {
//!     let charges = Charges::default();
//!     let counted = charges.clone();
//!     Trial::new(
//!         move |store| app(store, charges.clone()),
//!         || Request::post("/payments").header("Idempotency-Key", "\"1\"").body(Body::empty()).unwrap(),
//!         move || counted.lock().len(),
//!     )
//! });
//! report.assert_effects(1).assert_answered();
//! ```
//!
//! # What is interrupted
//!
//! [`interrupt_everywhere`] runs one trial for each [`Interruption`] and each point where it can happen. A point is each await at which the request
//! waits: before and after each call of the store, and each await of the handler that is not ready at once. An effect between two such points is on one side of
//! both, so give a handler's outside world a point of its own with `tokio::task::yield_now().await` if it has none. In each trial the request is sent until it has its
//! final response: to the same process after a disconnection or a failure of the store, and to a new one, after the lease, after a crash.
//!
//! # What the counts say
//!
//! | The handler | Effects, at every point |
//! |---|---|
//! | commits its rows with [`Execution::commit`](crate::Execution::commit) | 1 |
//! | calls a service that knows [child keys](crate::Execution::child_key) | 1 |
//! | has any other effect | 2 where it crashes between the effect and the record: no library can prevent that |
//!
//! A handler with `on_lost = "refuse"` has one effect at most, and requests without an answer after crashes.
//!
//! # Caveats
//!
//! A crash drops the process's tasks. What a task does when it is dropped still happens, unlike in a real crash. Threads go on, as a database's server does.
//! A handler whose awaits differ from run to run is interrupted at other points each time. A commit goes to the handler's database itself, and not
//! through the [`TrialStore`]: crashes and disconnections meet it at its awaits, and a reply of it is not lost.

mod interruption;
mod points;
mod process;
mod report;
mod trial;
mod trial_store;

pub use interruption::Interruption;
pub use report::Interrupted;
pub use report::Report;
pub use trial::Trial;
pub use trial_store::TrialStore;

/// Interrupts the request of a trial everywhere. The function makes a new trial for each interruption, with an outside world that has no effects yet.
///
/// It blocks, and starts runtimes of its own. An asynchronous test may call it, too.
///
/// # Panics
///
/// If the uninterrupted request has no final response, or calls no [`TrialStore`]: then nothing would be tested.
pub fn interrupt_everywhere(trial: impl Fn() -> Trial + Send) -> Report {
    // A runtime cannot start in the thread of another one.
    std::thread::scope(|scope| {
        let interrupted = scope.spawn(move || trial::everywhere(&trial));
        interrupted
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
