//! One line for each request: never the key, never a body, no query.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};
use idempotency::log_text::Printable;

use crate::error::Cause;

/// Logs the request once it has a response, or once its client has left.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let mut line = Line {
        method: Printable(request.method().as_str()).to_string(),
        path: Printable(request.uri().path()).to_string(),
        started: Instant::now(),
        has_response: false,
    };
    let mut response = next.run(request).await;
    line.has_response = true;
    if let Some(cause) = response.extensions_mut().remove::<Cause>() {
        cause.reaches_client();
    }
    // Probes come every few seconds, and are not worth a line while they succeed.
    let probe = matches!(line.path.as_str(), "/healthz" | "/readyz");
    if !(probe && response.status().is_success()) {
        tracing::info!(
            method = line.method,
            path = line.path,
            status = response.status().as_u16(),
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
    has_response: bool,
}

impl Line {
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
                milliseconds = self.milliseconds(),
                "the client left before the response",
            );
        }
    }
}
