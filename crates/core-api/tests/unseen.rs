//! What is logged at the level of traces, by everything that is linked in, and what is counted: neither shows a key, a payload, a
//! response or a caller, except that the access log names the subject.

use std::{
    fs, io,
    sync::{Arc, Mutex},
};

use clap::Parser;
use core_api::{Config, Server};
use reqwest::Client;
use rustls::crypto::ring;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::tempdir;
use tokio::sync::oneshot;
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// proves: keys-and-bodies-never-logged, outcomes-are-counted
#[tokio::test]
async fn neither_traces_nor_metrics_show_a_key_a_payload_a_response_or_a_caller() {
    drop(ring::default_provider().install_default());
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let directory = tempdir().unwrap();
    let token = "unseen-token-unseen-token-unseen-token";
    let digest: String = Sha256::digest(token)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let tokens = directory.path().join("tokens");
    fs::write(
        &tokens,
        format!("sha256={digest} subject=unseen-subject role=caller\n"),
    )
    .unwrap();
    let database = format!("sqlite:{}", directory.path().join("a.db").display());
    let arguments = [
        "core-api",
        "--listen",
        "127.0.0.1:0",
        "--fault-injection",
        "--database",
        &database,
    ];
    let tokens = ["--tokens", tokens.to_str().unwrap()];
    let config = Config::try_parse_from([&arguments[..], &tokens].concat()).unwrap();
    let server = Server::start(&config).await.unwrap();
    let url = format!("http://{}", server.address());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));

    let client = Client::new();
    let book = |name: &str, fault: &'static str| {
        let booking = json!({
            "service_id": "cut", "customer_name": name, "date": "2999-01-01", "time": "10:00",
        });
        let request = client.post(format!("{url}/bookings")).bearer_auth(token);
        request
            .header("idempotency-key", "unseen-key")
            .header(fault, "503")
            .json(&booking)
    };
    for (name, fault, status) in [
        ("unseen name", "x-fault-status", 503),
        ("unseen name", "x-none", 201),
        ("unseen name", "x-none", 201),
        ("unseen other", "x-none", 422),
        ("", "x-none", 422),
    ] {
        let response = book(name, fault).send().await.unwrap();
        assert_eq!(response.status(), status, "{name} {fault}");
    }
    let shown = client.get(format!("{url}/metrics")).send().await.unwrap();
    let shown = shown.text().await.unwrap();
    assert!(
        shown.contains("idempotency_requests_total{outcome=\"replayed\"} 1\n"),
        "{shown}"
    );
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();

    // The client of this test logs what it sends, in the same process.
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("idempotency.outcome=\"replayed\""), "{log}");
    for line in log.lines().chain(shown.lines()) {
        // The access log names the subject, and nothing else does.
        let of_access = line.contains("responded") && line.contains("status=");
        let line = if of_access {
            line.replace(" subject=\"unseen-subject\"", "")
        } else {
            line.to_owned()
        };
        assert!(!line.contains("unseen"), "{line}");
    }
}
