//! Where traces go.

use std::{fmt, str::FromStr};

use axum::http::Uri;
use clap::Args;

use super::{secretive::Secretive, server_url::ServerUrl};

/// The options of tracing.
#[derive(Clone, Debug, Default, Args)]
#[expect(clippy::doc_markdown, reason = "it is the text of --help")]
pub struct Tracing {
    /// The collector of OpenTelemetry traces, such as http://localhost:4318: spans are sent to its path /v1/traces, by OTLP over HTTP. Without it
    /// tracing is off.
    ///
    /// Each request is a span with the digest of its key's record and the result, and a replay links to the trace of the run that made its response.
    /// Spans contain no keys, payloads or responses. The variables of OpenTelemetry, such as OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER and
    /// OTEL_RESOURCE_ATTRIBUTES, apply. A request's traceparent is continued, and decides whether its trace is sampled, unless OTEL_TRACES_SAMPLER
    /// has no parentbased in its name.
    #[arg(
        long,
        env = "CORE_API_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = Secretive::<OtlpEndpoint>::new(),
        hide_env_values = true
    )]
    pub otlp_endpoint: Option<OtlpEndpoint>,
}

/// The URL of a collector. It is displayed without user, password and parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint(ServerUrl);

impl OtlpEndpoint {
    /// Where spans are posted.
    pub(crate) fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.expose().trim_end_matches('/'))
    }
}

impl FromStr for OtlpEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_url = text.parse::<Uri>().is_ok_and(|url| {
            let has_host = url.host().is_some_and(|host| !host.is_empty());
            matches!(url.scheme_str(), Some("http" | "https")) && has_host && url.query().is_none()
        });
        if is_url {
            Ok(Self(ServerUrl::new(text)))
        } else {
            Err("expected the URL of a collector without the path of traces, such as http://localhost:4318".into())
        }
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_a_url_with_a_host() {
        for (url, traces) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            (
                "https://otel.example/a/",
                "https://otel.example/a/v1/traces",
            ),
        ] {
            assert_eq!(url.parse::<OtlpEndpoint>().unwrap().traces(), traces);
        }
        for url in [
            "",
            "localhost:4318",
            "/v1",
            "grpc://localhost:4317",
            "http://",
            "http://h/?a=b",
        ] {
            assert!(url.parse::<OtlpEndpoint>().is_err(), "{url}");
        }
        let secret = "https://ann:pw@otel.example".parse::<OtlpEndpoint>();
        assert_eq!(secret.unwrap().to_string(), "https://otel.example");
    }
}
