use std::{fmt, sync::Arc};

use parking_lot::Mutex;

use super::RequestOutcome;
use crate::store::RecordId;

/// Tells a middleware which record a request concerned, and what became of it.
///
/// A middleware outside of the protection puts one into the extensions of the request, and reads it afterwards:
///
/// ```
/// use axum::{extract::Request, middleware::Next, response::Response};
/// use idempotency::http::Observation;
///
/// async fn log(mut request: Request, next: Next) -> Response {
///     let seen = Observation::new();
///     request.extensions_mut().insert(seen.clone());
///     let response = next.run(request).await;
///     if let (Some(record), Some(outcome)) = (seen.record(), seen.outcome()) {
///         println!("{} {record} {outcome}", response.status());
///     }
///     response
/// }
/// ```
///
/// Clones are handles on one observation. A run and its replays have the same record. Nothing in it repeats the key, the payload,
/// the caller or the response.
#[derive(Clone, Default)]
pub struct Observation(Arc<Mutex<Seen>>);

#[derive(Clone, Copy, Default)]
struct Seen {
    record: Option<RecordId>,
    outcome: Option<RequestOutcome>,
}

impl Observation {
    /// One that has seen nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The record of the request's key; `None` if the request has no valid key, or no engine has seen it. It is printed as the 16 digits
    /// that log lines have in the field `idempotency.record`.
    #[must_use]
    pub fn record(&self) -> Option<RecordId> {
        self.0.lock().record
    }

    /// The request's outcome, a word of the [list](crate::guide::operators#outcomes-of-requests); `None` until it is known.
    /// A run that continues without its client reports it at its end.
    #[must_use]
    pub fn outcome(&self) -> Option<&'static str> {
        self.0.lock().outcome.map(RequestOutcome::name)
    }

    pub(super) fn note_record(&self, record: RecordId) {
        self.0.lock().record = Some(record);
    }

    pub(super) fn note_outcome(&self, outcome: RequestOutcome) {
        self.0.lock().outcome = Some(outcome);
    }
}

impl fmt::Debug for Observation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Observation")
            .field("record", &self.record())
            .field("outcome", &self.outcome())
            .finish()
    }
}
