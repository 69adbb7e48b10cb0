//! The application's own response to a refusal.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use axum::response::{IntoResponse, Response};

use crate::http_rejection::HttpRejection;

/// The application's function, shared by the clones of a configuration.
#[derive(Clone)]
pub(crate) struct RejectionResponse(Arc<dyn Fn(&HttpRejection) -> Response + Send + Sync>);

impl RejectionResponse {
    pub(super) fn new<R: IntoResponse>(
        respond: impl Fn(&HttpRejection) -> R + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |rejection| {
            respond(rejection).into_response()
        }))
    }

    /// The function's response, unless it panics. A run's own task refuses requests too, and a panic there would end it
    /// before it releases its hold.
    pub(crate) fn respond(&self, rejection: &HttpRejection) -> Option<Response> {
        let response = catch_unwind(AssertUnwindSafe(|| (self.0)(rejection)));
        if response.is_err() {
            tracing::error!(
                code = rejection.code(),
                "the function of with_rejection_response panicked; the client gets the library's own response",
            );
        }
        response.ok()
    }
}

impl fmt::Debug for RejectionResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RejectionResponse(…)")
    }
}
