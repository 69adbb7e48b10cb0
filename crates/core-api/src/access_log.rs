//! One line for each request, with the subject of its token: never the key, never a body, no query.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use idempotency::{http::Observation, log_text::Printable, store::RecordId};
use tracing::field::{self, DisplayValue};

use crate::{error::Cause, tokens::Subject};

/// Logs the request once it has a response, or once its client has left.
pub(crate) async fn log(mut request: Request, next: Next) -> Response {
    let seen = Observation::new();
    request.extensions_mut().insert(seen.clone());
    let mut line = Line {
        method: Printable(request.method().as_str()).to_string(),
        path: path(&request),
        started: Instant::now(),
        seen,
        has_response: false,
    };
    let mut response = next.run(request).await;
    line.has_response = true;
    if let Some(cause) = response.extensions_mut().remove::<Cause>() {
        cause.reaches_client();
    }
    let subject = response.extensions_mut().remove::<Subject>();
    // Probes arrive every few seconds, so those that succeed are not logged.
    let probe = matches!(line.path.as_str(), "/healthz" | "/readyz" | "/metrics");
    if !(probe && response.status().is_success()) {
        tracing::info!(
            method = line.method,
            path = line.path,
            status = response.status().as_u16(),
            idempotency.record = line.record(),
            outcome = line.seen.outcome(),
            subject = subject.as_ref().map(Subject::as_str),
            replayed = response.headers().contains_key("idempotent-replayed"),
            milliseconds = line.milliseconds(),
            "responded",
        );
    }
    response
}

/// The path, except one that names a key: a client may have put the key itself there.
fn path(request: &Request) -> String {
    const OF_KEYS: &str = "/admin/keys/";
    let path = request.uri().path();
    if !path.starts_with(OF_KEYS) {
        return Printable(path).to_string();
    }
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or_else(|| format!("{OF_KEYS}…"), |route| route.as_str().to_owned())
}

struct Line {
    method: String,
    path: String,
    started: Instant,
    /// The record of the request, and the result.
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
