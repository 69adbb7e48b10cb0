//! `GET /metrics`: what the library counts, for Prometheus.

use std::{sync::OnceLock, time::Duration};

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::error::ApiError;

/// Where histograms divide durations, in seconds: from a store in memory to its time limit of 5 seconds, and slow handlers beyond.
const BUCKETS: [f64; 13] = [
    0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// How often samples are put into their buckets, which otherwise happens only when a scraper asks for them.
const UPKEEP: Duration = Duration::from_secs(5);

/// One for the process, as recorders are. Without a value a program around this one has its own recorder, which then also has these metrics.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Records from now on, before there is an engine that counts.
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

/// Keeps the samples from piling up where no scraper asks for them.
pub(crate) async fn keep_up() {
    loop {
        tokio::time::sleep(UPKEEP).await;
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}

/// Shows what was counted and measured since the process began.
///
/// Each process counts for itself, so ask every process. The operators' guide has alert rules and a dashboard.
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
pub(crate) async fn show_metrics() -> Response {
    let Some(recorder) = recorder() else {
        return ApiError::UnknownRoute.into_response();
    };
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], recorder.render()).into_response()
}
