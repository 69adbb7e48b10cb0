//! Traces for OpenTelemetry: a span for each request, and a link from a replay to the run that made its response.

use std::{collections::HashMap, error::Error, sync::OnceLock};

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    middleware::Next,
    response::Response,
};
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use rustls::crypto::ring;
use tracing::{Instrument, Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
};

use crate::config::OtlpEndpoint;

/// The target of the spans of requests, which are for traces and not for the log.
pub(crate) const TARGET: &str = "core_api::request";

/// The trace of the run that made a response; in the response to the client, the trace of the request.
const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Sends spans to the collector in the background from now on. If the collector cannot be reached, spans are lost and the log has warnings.
///
/// # Errors
///
/// If the variables of OpenTelemetry cannot be used.
pub(crate) fn layer(
    endpoint: &OtlpEndpoint,
) -> Result<Box<dyn Layer<Registry> + Send + Sync>, Box<dyn Error + Send + Sync>> {
    // The client of the exporter uses the process's default provider. This fails if one is already installed.
    drop(ring::default_provider().install_default());
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(endpoint.traces())
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name("core-api").build())
        .build();
    let tracer = provider.tracer("core-api");
    PROVIDER.get_or_init(|| provider);
    let spans = Targets::new()
        .with_target(TARGET, LevelFilter::INFO)
        .with_target("idempotency", LevelFilter::DEBUG);
    let layer = tracing_opentelemetry::layer()
        .with_location(false)
        .with_threads(false)
        .with_tracer(tracer)
        .with_filter(spans);
    Ok(layer.boxed())
}

/// Whether tracing is on.
pub(crate) fn are_on() -> bool {
    PROVIDER.get().is_some()
}

/// Sends the remaining spans, for a few seconds at most.
pub(crate) fn flush() {
    if let Some(provider) = PROVIDER.get() {
        // A failure is logged.
        drop(provider.shutdown());
    }
}

/// Makes a span for the request, in the trace that the client names.
pub(crate) async fn trace(request: Request, next: Next) -> Response {
    let method = known(request.method());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map(MatchedPath::as_str);
    let span = tracing::info_span!(
        target: TARGET,
        "request",
        otel.name = format!("{method} {}", route.unwrap_or_default()).trim_end(),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
    );
    // Spans that the sampler leaves out have no parent to set.
    drop(span.set_parent(named_by(&Fields(request.headers()))));
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let headers = response.headers_mut();
    if headers.contains_key("idempotent-replayed")
        && let Some(trace) = headers.get(TRACERESPONSE)
    {
        let run = named_by(&Traceparent(trace));
        span.add_link(run.span().span_context().clone());
    }
    match traceparent(&span) {
        Some(trace) => headers.insert(TRACERESPONSE, trace),
        None => headers.remove(TRACERESPONSE),
    };
    response
}

/// A method invented by a client may be as long as the whole head, and each one would be another span name.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::DELETE => "DELETE",
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "_OTHER",
    }
}

/// The trace of the request under way, which is stored with its response.
pub(crate) fn current() -> Option<HeaderValue> {
    traceparent(&Span::current())
}

fn traceparent(span: &Span) -> Option<HeaderValue> {
    let mut fields = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut fields);
    fields.get("traceparent")?.parse().ok()
}

fn named_by(fields: &dyn Extractor) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), fields)
}

/// The fields of a request.
struct Fields<'a>(&'a HeaderMap);

impl Extractor for Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// The value in the format of `traceparent`.
struct Traceparent<'a>(&'a HeaderValue);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0.to_str().ok()?)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}
