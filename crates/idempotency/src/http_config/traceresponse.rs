//! The trace of a run, which is stored with its response.

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Of the draft of W3C Trace Context, level 3.
pub(super) const FIELD: HeaderName = HeaderName::from_static("traceresponse");

/// The application's function that names the current trace.
#[derive(Clone)]
pub(crate) struct Traceresponse(Arc<dyn Fn() -> Option<HeaderValue> + Send + Sync>);

impl Traceresponse {
    pub(super) fn new(current: impl Fn() -> Option<HeaderValue> + Send + Sync + 'static) -> Self {
        Self(Arc::new(current))
    }

    /// The current trace. The run has already taken effect, so a panic must not look like one of its handler.
    pub(crate) fn current(&self) -> Option<HeaderValue> {
        let current = panic::catch_unwind(AssertUnwindSafe(|| (self.0)()));
        current.unwrap_or_else(|_| {
            tracing::error!(
                "the function of with_traceresponse panicked; the response is stored without its trace"
            );
            None
        })
    }

    /// Adds the field with the current trace, unless the response has it.
    pub(crate) fn mark(&self, headers: &mut HeaderMap) {
        if !headers.contains_key(FIELD) {
            set(headers, self.current());
        }
    }
}

/// Adds the field with this trace, unless the response has it.
pub(crate) fn set(headers: &mut HeaderMap, trace: Option<HeaderValue>) {
    if let Some(trace) = trace {
        headers.entry(FIELD).or_insert(trace);
    }
}

impl fmt::Debug for Traceresponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Traceresponse(…)")
    }
}
