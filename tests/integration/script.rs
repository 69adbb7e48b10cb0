//! Handlers that respond as the request says.

use std::convert::Infallible;

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use idempotency::{Disposition, idempotent};
use serde::Deserialize;

use crate::app::Probe;

pub(crate) fn routes() -> Router<Probe> {
    Router::new()
        .route("/script", post(follow_script))
        .route("/script/all", post(follow_script_keeping_all))
}

/// A response as the request's body describes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Script {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
    /// This many bytes more.
    padding: usize,
    /// Sends the body in pieces, so that its length is not known beforehand.
    streamed: bool,
    /// The body breaks off after its text.
    broken: bool,
    /// What the handler marks its response with: `store` or `release`.
    outcome: String,
    panics: bool,
}

#[idempotent(ttl_seconds = 3600)]
async fn follow_script(State(probe): State<Probe>, Json(script): Json<Script>) -> Response {
    perform(&probe, &script)
}

#[idempotent(ttl_seconds = 3600, keep = "all")]
async fn follow_script_keeping_all(
    State(probe): State<Probe>,
    Json(script): Json<Script>,
) -> Response {
    perform(&probe, &script)
}

pub(crate) async fn unprotected(
    State(probe): State<Probe>,
    Json(script): Json<Script>,
) -> Response {
    perform(&probe, &script)
}

fn perform(probe: &Probe, script: &Script) -> Response {
    let run = probe.count();
    assert!(!script.panics, "the script says so");
    let mut bytes = script.body.replace("{run}", &run.to_string()).into_bytes();
    bytes.resize(bytes.len() + script.padding, b'.');
    let body = if script.broken {
        let pieces = [Ok(Bytes::from(bytes)), Err("the script breaks off")];
        Body::from_stream(stream::iter(pieces))
    } else if script.streamed {
        let pieces: Vec<_> = bytes.chunks(1000).map(Bytes::copy_from_slice).collect();
        Body::from_stream(stream::iter(pieces).map(Ok::<_, Infallible>))
    } else {
        Body::from(bytes)
    };
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(script.status.unwrap_or(200)).expect("a status in the script");
    let mut headers = HeaderMap::new();
    for (name, value) in &script.headers {
        let name: HeaderName = name.parse().expect("a name in the script");
        headers.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a value in the script"),
        );
    }
    *response.headers_mut() = headers;
    match script.outcome.as_str() {
        "store" => (Extension(Disposition::Store), response).into_response(),
        "release" => (Extension(Disposition::Release), response).into_response(),
        _ => response,
    }
}
