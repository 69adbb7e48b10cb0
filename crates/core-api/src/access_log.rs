//! One line for each request: never the key, never a body, no query.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};

/// Logs the request once it is answered, or once its client has gone.
pub(crate) async fn log(request: Request, next: Next) -> Response {
    let mut line = Line {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        started: Instant::now(),
        answered: false,
    };
    let response = next.run(request).await;
    line.answered = true;
    // Probes come every few seconds and say nothing while they go well.
    let probe = matches!(line.path.as_str(), "/healthz" | "/readyz");
    if !(probe && response.status().is_success()) {
        tracing::info!(
            method = line.method,
            path = line.path,
            status = response.status().as_u16(),
            replayed = response.headers().contains_key("idempotent-replayed"),
            milliseconds = line.milliseconds(),
            "answered",
        );
    }
    response
}

struct Line {
    method: String,
    path: String,
    started: Instant,
    answered: bool,
}

impl Line {
    fn milliseconds(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Hyper drops the future of a request whose client has closed the connection.
        if !self.answered {
            tracing::info!(
                method = self.method,
                path = self.path,
                milliseconds = self.milliseconds(),
                "the client has gone before its answer",
            );
        }
    }
}
