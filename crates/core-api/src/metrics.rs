//! `GET /metrics`: what the library counts, for Prometheus.

use std::{sync::OnceLock, time::Duration};

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{app::App, error::ApiError};

/// The bounds of the histograms of durations, in seconds: from a store in memory to the store time limit of 5 seconds, and slow handlers.
const BUCKETS: [f64; 13] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// How often samples are sorted into their buckets. Otherwise only a scrape does it.
const UPKEEP: Duration = Duration::from_secs(5);

/// Whether the token file is stale. It is asked for at each scrape, because the thread that reads the file may be the one that has stopped.
const TOKENS_STALE: &str = "# HELP core_api_tokens_stale 1 while the token file cannot be read or used, so that revoked tokens stay valid\n\
     # TYPE core_api_tokens_stale gauge\n\
     core_api_tokens_stale ";

/// The recorder of the process. Without a value another part of the program has installed a recorder, which then has these metrics too.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts recording. This comes before the first engine is made.
pub(crate) fn start() {
    recorder();
}

fn recorder() -> Option<&'static PrometheusHandle> {
    let install = || {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
            .expect("there are buckets");
        match builder.install_recorder() {
            Ok(handle) => Some(handle),
            Err(error) => {
                tracing::warn!("GET /metrics has nothing to show: {error}");
                None
            }
        }
    };
    RECORDER.get_or_init(install).as_ref()
}

/// Keeps samples from accumulating where nothing scrapes them.
pub(crate) async fn keep_up() {
    loop {
        tokio::time::sleep(UPKEEP).await;
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}

/// Shows what was counted and measured since the process started.
///
/// Each process counts for itself, so scrape every process. The operators' guide has alert rules and a dashboard.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses((
        status = OK,
        description = "The metrics, in the text format of Prometheus.",
        body = String,
        example = json!("# TYPE idempotency_requests_total counter\nidempotency_requests_total{outcome=\"executed\"} 1\n"),
    )),
)]
pub(crate) async fn show_metrics(State(app): State<App>) -> Response {
    let Some(recorder) = recorder() else {
        return ApiError::UnknownRoute.into_response();
    };
    let format = "text/plain; version=0.0.4; charset=utf-8";
    let mut shown = recorder.render();
    if let Some(tokens) = &app.tokens {
        shown += &format!("{TOKENS_STALE}{}\n", u8::from(tokens.is_stale()));
    }
    ([(header::CONTENT_TYPE, format)], shown).into_response()
}
