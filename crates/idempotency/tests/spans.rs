//! The span of each request, in a program of its own: `tracing` remembers for each span whether any test wanted it.

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, http::Request, routing::post};
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore};
use tower::ServiceExt;
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the log").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// proves: outcomes-are-counted, keys-and-bodies-never-logged
#[tokio::test]
async fn a_request_has_one_span_with_its_record_and_its_outcome_and_so_has_its_replay() {
    let log = Log::default();
    let subscriber = {
        let log = log.clone();
        tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish()
    };
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    let idempotency = Idempotency::new(MemoryStore::new());
    let handler = async || {
        tracing::info!("the handler runs");
        "a-secret-response"
    };
    let layer = IdempotencyLayer::new(idempotency);
    let app = Router::new().route("/", post(handler)).layer(layer);
    for _ in 0..2 {
        let request = Request::post("/")
            .header("idempotency-key", "a-secret-key")
            .header("authorization", "Bearer a-secret-token")
            .body(Body::from("a-secret-body"))
            .expect("a request");
        app.clone().oneshot(request).await.expect("a response");
    }
    let log = log.0.lock().expect("the log").clone();
    let log = String::from_utf8(log).expect("text");
    assert!(!log.contains("a-secret"), "{log}");
    let closed: Vec<_> = log.lines().filter(|line| line.contains("close")).collect();
    assert_eq!(closed.len(), 2, "{log}");
    let record = |line: &str| {
        let (_, rest) = line.split_once("idempotency.record=").expect("a record");
        rest[..16].to_owned()
    };
    assert_eq!(record(closed[0]), record(closed[1]));
    for (line, outcome) in closed.iter().zip(["executed", "replayed"]) {
        assert!(line.contains("idempotency.store=\"memory\""), "{log}");
        assert!(
            line.contains(&format!("idempotency.outcome=\"{outcome}\"")),
            "{log}"
        );
    }
    let in_handler = log.lines().find(|line| line.contains("the handler runs"));
    let in_handler = in_handler.expect("the handler's line");
    assert_eq!(record(in_handler), record(closed[0]), "{log}");
}
