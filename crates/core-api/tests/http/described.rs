//! What other programs make of the description and of the metrics. `tests/run` installs them.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::tempdir;

use crate::{
    clients::{is_installed, output},
    openapi::MEMORY,
    server::Server,
};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/described");

/// Below it Redocly finds what a reader, or a program that writes calls, would miss.
const LEAST_SCORE: f64 = 80.0;

/// The program that this variable names, or the one of this name, if it is installed.
fn tool(variable: &str, name: &str) -> Option<OsString> {
    let program = env::var_os(variable).unwrap_or_else(|| name.into());
    is_installed(&program, "tests/run installs it").then_some(program)
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

// proves: policy-page-published
#[tokio::test]
async fn requests_made_from_the_description_find_no_contradiction_and_each_retry_is_replayed() {
    let Some(schemathesis) = tool("SCHEMATHESIS", "schemathesis") else {
        return;
    };
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    let mut command = Command::new(schemathesis);
    command
        .current_dir(directory.path())
        .env("PYTHONPATH", FILES)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "keys")
        .arg("--config-file")
        .arg(Path::new(FILES).join("schemathesis.toml"))
        .args(["run", "--no-color"])
        .arg(format!("http://{}/openapi.json", server.address));
    let told = output(command).await;
    assert!(told.status.success(), "{}", text(&told));
    let told = text(&told);
    assert!(told.contains("Stateful"), "{told}");
    let metrics = server.get("/metrics").await.body;
    let metrics = String::from_utf8(metrics).unwrap();
    let replays = metrics
        .lines()
        .find_map(|line| line.strip_prefix("idempotency_requests_total{outcome=\"replayed\"} "));
    let replays: u32 = replays.unwrap().parse().unwrap();
    assert!(replays > 20, "{replays}");
}

// proves: policy-page-published
#[tokio::test]
async fn redocly_finds_no_mistake_in_the_description_and_rates_it_well() {
    let Some(redocly) = tool("REDOCLY", "redocly") else {
        return;
    };
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    let asked = |arguments: &[&str]| {
        let mut command = Command::new(&redocly);
        command
            .current_dir(directory.path())
            .env("REDOCLY_TELEMETRY", "off")
            .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true")
            .args(arguments)
            .arg(format!("http://{}/openapi.json", server.address));
        output(command)
    };
    let config = format!("{FILES}/redocly.yaml");
    let lint = asked(&["lint", "--config", &config]).await;
    assert!(lint.status.success(), "{}", text(&lint));

    let score = asked(&["score", "--format=json"]).await;
    let score = String::from_utf8(score.stdout).unwrap();
    let json = score.find("\n{").map_or(&*score, |at| &score[at..]);
    let score: Value = serde_json::from_str(json).unwrap();
    let rated = score["agentReadiness"].as_f64().unwrap();
    assert!(rated >= LEAST_SCORE, "{rated}: {}", score["subscores"]);
}

// proves: outcomes-are-counted
#[tokio::test]
async fn promtool_finds_no_mistake_in_metrics_and_alerts() {
    if !is_installed("promtool", "Debian: apt-get install prometheus") {
        return;
    }
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    assert!(server.book("k", "Ann").await.is_replayed());
    let metrics = directory.path().join("metrics");
    std::fs::write(&metrics, server.get("/metrics").await.body).unwrap();
    let mut command = Command::new("promtool");
    command
        .args(["check", "metrics"])
        .stdin(Stdio::from(std::fs::File::open(&metrics).unwrap()));
    let told = output(command).await;
    assert!(told.status.success(), "{}", text(&told));
    assert_eq!(text(&told), "", "promtool has advice");

    let mut command = Command::new("promtool");
    command.args(["check", "rules"]).arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/monitoring/alerts.yml"
    ));
    let told = output(command).await;
    assert!(told.status.success(), "{}", text(&told));
}
