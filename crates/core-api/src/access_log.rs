//! One line for each request: never the key, never a body, no query.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};
use idempotency::{Observation, log_text::Printable, store::RecordId};
use tracing::field::{self, DisplayValue};

use crate::error::Cause;

/// Logs the request once it has a response, or once its client has left.
pub(crate) async fn log(mut request: Request, next: Next) -> Response {
    let seen = Observation::new();
    request.extensions_mut().insert(seen.clone());
    let mut line = Line {
        method: Printable(request.method().as_str()).to_string(),
        path: Printable(request.uri().path()).to_string(),
        started: Instant::now(),
        seen,
        has_response: false,
    };
    let mut response = next.run(request).await;
    line.has_response = true;
    if let Some(cause) = response.extensions_mut().remove::<Cause>() {
        cause.reaches_client();
    }
    // Probes come every few seconds, and are not worth a line while they succeed.
    let probe = matches!(line.path.as_str(), "/healthz" | "/readyz" | "/metrics");
    if !(probe && response.status().is_success()) {
        tracing::info!(
            method = line.method,
            path = line.path,
            status = response.status().as_u16(),
            idempotency.record = line.record(),
            outcome = line.seen.outcome(),
            replayed = response.headers().contains_key("idempotent-replayed"),
            milliseconds = line.milliseconds(),
            "responded",
        );
    }
    response
}

struct Line {
    method: String,
    path: String,
    started: Instant,
    /// Which record the request concerned, and what became of it.
    seen: Observation,
    has_response: bool,
}

impl Line {
    fn record(&self) -> Option<DisplayValue<RecordId>> {
        self.seen.record().map(field::display)
    }

    fn milliseconds(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Hyper drops the future of a request whose client has closed the connection.
        if !self.has_response {
            tracing::info!(
                method = self.method,
                path = self.path,
                idempotency.record = self.record(),
                milliseconds = self.milliseconds(),
                "the client left before the response",
            );
        }
    }
}
