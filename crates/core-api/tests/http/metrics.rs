//! `GET /metrics`, the record in the access log, and the files for Prometheus and Grafana.

use std::collections::BTreeSet;

use serde_json::Value;
use tempfile::tempdir;

use crate::{
    server::{Server, send},
    tokens::Tokens,
};

const ALERTS: &str = include_str!("../../monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../../monitoring/dashboard.json");

/// The names of the library's metrics in this text, without what Prometheus adds to those of histograms.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |letter: char| letter.is_ascii_lowercase() || matches!(letter, '_' | '0'..='9');
    text.split(|letter| !is_name(letter))
        .filter(|word| word.starts_with("idempotency_"))
        .map(|name| {
            ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(name)
        })
        .collect()
}

/// The values of `label="…"` and `label=~"…|…"` in this text.
fn values(text: &str, label: &str) -> BTreeSet<String> {
    text.replace('\\', "")
        .split(label)
        .skip(1)
        .filter_map(|rest| rest.strip_prefix("=~\"").or(rest.strip_prefix("=\"")))
        .filter_map(|rest| rest.split_once('"'))
        .flat_map(|(values, _)| values.split('|').map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

// proves: outcomes-are-counted
#[tokio::test]
async fn metrics_have_what_alerts_and_dashboard_ask_for_and_count_each_request() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--idempotency-store", "memory:"]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    assert!(server.book("k", "Ann").await.is_replayed());
    server.book("k", "Bob").await.problem(422);
    let shown = server.get("/metrics").await;
    assert_eq!(shown.status, 200);
    assert_eq!(
        shown.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    let shown = String::from_utf8(shown.body).unwrap();
    for outcome in ["executed", "replayed", "reused"] {
        let line = format!("idempotency_requests_total{{outcome=\"{outcome}\"}} 1\n");
        assert!(shown.contains(&line), "{shown}");
    }
    assert!(
        shown.contains("idempotency_store_duration_seconds_bucket{store=\"memory\",le=\"5\"}"),
        "{shown}"
    );
    crate::server::assert_hidden(&shown);

    // A kind of error is only there after the first one.
    let mut known = names(&shown);
    known.insert("idempotency_store_errors_total");
    // The records are counted after the first sweep.
    known.insert("idempotency_live_records");
    for file in [ALERTS, DASHBOARD] {
        let unknown: Vec<_> = names(file).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{unknown:?} are not among {known:?}");
        assert!(names(file).len() > 4);
        for label in ["outcome", "result"] {
            let unknown: Vec<_> = values(file, label)
                .difference(&values(&shown, label))
                .cloned()
                .collect();
            assert!(unknown.is_empty(), "{label} {unknown:?}");
        }
    }
    serde_json::from_str::<Value>(DASHBOARD).unwrap();

    server.terminate();
    let (_, _, log) = server.wait();
    let lines = log.lines().filter(|line| line.contains("/bookings"));
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let record = lines[0]["idempotency.record"].as_str().unwrap();
    assert_eq!(record.len(), 16);
    for (line, outcome) in lines.iter().zip(["executed", "replayed", "reused"]) {
        assert_eq!(line["idempotency.record"], record, "{log}");
        assert_eq!(line["outcome"], outcome, "{log}");
    }
    assert!(!log.contains("/metrics"), "{log}");
}

// proves: outcomes-are-counted
#[tokio::test]
async fn metrics_need_a_token_where_health_does() {
    let tokens = Tokens::new();
    let token = tokens.add(&["ann", "--role", "viewer"]);
    let open = Server::start(tokens.directory.path(), &["--tokens", "tokens"]);
    assert_eq!(open.get("/metrics").await.status, 200);
    drop(open);
    let protected = Server::start(
        tokens.directory.path(),
        &["--tokens", "tokens", "--protect-health"],
    );
    assert_eq!(protected.get("/metrics").await.status, 401);
    let known = protected.request("GET", "/metrics").bearer_auth(token);
    assert_eq!(send(known).await.status, 200);
}
