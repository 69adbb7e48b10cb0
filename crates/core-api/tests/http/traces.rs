//! `--otlp-endpoint`: the spans that a collector of OpenTelemetry receives.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use parking_lot::Mutex;
use prost::Message;
use tempfile::tempdir;
use tokio::net::TcpListener;

use crate::server::{Server, assert_hidden, booking, command, send};

/// What was posted to a collector.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<Bytes>>>);

impl Collected {
    /// A collector on a port of its own.
    async fn start() -> (Self, SocketAddr) {
        let collected = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new()
            .route("/v1/traces", post(Self::collect))
            .with_state(collected.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        (collected, address)
    }

    async fn collect(State(collected): State<Self>, body: Bytes) {
        collected.0.lock().push(body);
    }

    fn spans(&self) -> Vec<Span> {
        let posted = self.0.lock();
        let requests = posted.iter().map(|body| {
            assert_hidden(&String::from_utf8_lossy(body));
            ExportTraceServiceRequest::decode(body.clone()).unwrap()
        });
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let mut spans: Vec<_> = scopes.flat_map(|scope| scope.spans).collect();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

fn text(span: &Span, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|value| value.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{other:?}"),
    }
}

// proves: outcomes-are-counted
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_linked_to_the_trace_of_the_run_that_made_its_response() {
    let (collected, collector) = Collected::start().await;
    let directory = tempdir().unwrap();
    let mut server = Server::start(
        directory.path(),
        &["--otlp-endpoint", &format!("http://{collector}/")],
    );
    let client = "4bf92f3577b34da6a3ce929d0e0e4736";
    let book = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("traceparent", format!("00-{client}-00f067aa0ba902b7-01"));
    let first = send(book).await;
    assert_eq!(first.status, 201);
    let again = server.book("k", "Ann").await;
    assert!(again.is_replayed());
    let refused = server.book("k", "Bob").await;
    refused.problem(422);
    server.get("/nowhere/at/all").await.problem(404);
    // Each response names the trace of its own request, a replay too.
    let trace = |reply: &crate::server::Reply| {
        let field = reply.header("traceresponse").unwrap().to_owned();
        field.split('-').nth(1).unwrap().to_owned()
    };
    assert_eq!(trace(&first), client);
    assert_ne!(trace(&again), client);
    server.terminate();
    assert!(server.wait().0.success());

    let spans = collected.spans();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let requests: Vec<_> = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Server as i32)
        .collect();
    let shown = |span: &Span| {
        (
            span.name.clone(),
            text(span, "http.response.status_code").unwrap(),
        )
    };
    let all: Vec<_> = requests.iter().map(|span| shown(span)).collect();
    let expected = [
        ("POST /bookings", "201"),
        ("POST /bookings", "201"),
        ("POST /bookings", "422"),
        ("GET", "404"),
    ];
    assert_eq!(
        all,
        expected.map(|(name, status)| (name.into(), status.into()))
    );
    assert_eq!(hex(&requests[0].trace_id), client);
    assert_eq!(hex(&requests[0].parent_span_id), "00f067aa0ba902b7");
    assert!(requests[0].links.is_empty());
    assert_eq!(hex(&requests[1].trace_id), trace(&again));
    let links: Vec<_> = requests[1]
        .links
        .iter()
        .map(|link| hex(&link.trace_id))
        .collect();
    assert_eq!(links, [client]);
    assert!(requests[2].links.is_empty());

    // Each has the library's span inside, with the record and the outcome.
    let keys: Vec<_> = spans
        .iter()
        .filter(|span| span.name == "idempotency")
        .collect();
    let outcomes: Vec<_> = keys
        .iter()
        .map(|span| text(span, "idempotency.outcome").unwrap())
        .collect();
    assert_eq!(outcomes, ["executed", "replayed", "reused"]);
    for (key, request) in keys.iter().zip(&requests) {
        assert_eq!(key.parent_span_id, request.span_id);
        assert_eq!(
            text(key, "idempotency.record"),
            text(keys[0], "idempotency.record")
        );
    }
}

// proves: outcomes-are-counted
#[tokio::test]
async fn a_collector_that_cannot_be_reached_costs_spans_and_a_line_in_the_log() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--otlp-endpoint", "http://127.0.0.1:9"]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.terminate();
    let (ended, _, log) = server.wait();
    assert!(ended.success());
    assert!(log.contains("opentelemetry"), "{log}");

    let refused = command(directory.path())
        .args(["--otlp-endpoint", "localhost:4317"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("--otlp-endpoint <URL>"), "{said}");

    // Without the option there is no trace, and no field for it.
    let server = Server::start(directory.path(), &[]);
    let reply = server.book("other", "Ann").await;
    assert_eq!(reply.header("traceresponse"), None);
}
