//! One attempt: a request, and its response to the end.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Request};

use super::error::SendError;

#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether the body is not longer than the client reads.
    pub(super) is_whole: bool,
}

/// Why an attempt has no whole response.
#[derive(Debug)]
pub(super) enum Failure {
    Retryable(reqwest::Error),
    Final(SendError),
}

/// Sends the request, and reads its response.
pub(super) async fn exchange(
    http: &Client,
    request: Request,
    max_response: usize,
) -> Result<Received, Failure> {
    let mut response = http.execute(request).await.map_err(failure)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let (mut body, mut is_whole) = (BytesMut::new(), true);
    while let Some(chunk) = response.chunk().await.map_err(failure)? {
        if body.len() + chunk.len() > max_response {
            is_whole = false;
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Received {
        status,
        headers,
        body: body.freeze(),
        is_whole,
    })
}

fn failure(error: reqwest::Error) -> Failure {
    // Its query may have a secret.
    let error = error.without_url();
    if error.is_builder() {
        Failure::Final(SendError::InvalidRequest(error))
    } else {
        Failure::Retryable(error)
    }
}
