//! The request, read to its end.

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    RequestExt,
    body::{Body, HttpBody},
    extract::Request,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full, LengthLimitError};

use super::{problem::Problem, read_on::ReadOn};

/// The head of a request, and its body once that has been read to its end.
#[derive(Clone)]
pub(super) struct Complete {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    trailers: Option<Box<HeaderMap>>,
}

impl Complete {
    /// The head alone.
    pub(super) const fn head(parts: Parts) -> Self {
        Self {
            parts,
            body: Bytes::new(),
            trailers: None,
        }
    }

    /// Reads the body to its end, within this limit, or by default within axum's `DefaultBodyLimit`.
    pub(super) async fn read(
        &mut self,
        body: &mut ReadOn,
        limit: Option<usize>,
    ) -> Result<(), Problem> {
        let limit = match limit {
            Some(limit) => Some(limit as u64),
            None => self.default_limit(),
        };
        let is_above = |length: u64| limit.is_some_and(|limit| length > limit);
        let announced = body.size_hint().lower();
        // A client that waits for 100 (Continue) need not send a body that is known to be too large.
        if is_above(announced) {
            return Err(Problem::ContentTooLarge);
        }
        // Hardly any body comes in more than one piece.
        let mut joined = BytesMut::new();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                if is_limit(&error) {
                    Problem::ContentTooLarge
                } else {
                    Problem::ContentIncomplete
                }
            })?;
            match frame.into_data() {
                Ok(data) => {
                    length += data.len() as u64;
                    if is_above(length) {
                        return Err(Problem::ContentTooLarge);
                    }
                    if self.body.is_empty() {
                        self.body = data;
                    } else {
                        if joined.is_empty() {
                            joined.extend_from_slice(&self.body);
                        }
                        joined.extend_from_slice(&data);
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        self.trailers.get_or_insert_default().extend(trailers);
                    }
                }
            }
        }
        if !joined.is_empty() {
            self.body = joined.freeze();
        }
        Ok(())
    }

    /// What `DefaultBodyLimit` says. axum tells its limit only by limiting a body.
    fn default_limit(&mut self) -> Option<u64> {
        let mut probe = Request::new(Body::new(Endless));
        *probe.extensions_mut() = mem::take(&mut self.parts.extensions);
        let mut limited = probe.with_limited_body();
        self.parts.extensions = mem::take(limited.extensions_mut());
        limited.body().size_hint().upper()
    }

    /// The request as it arrived, for the handler. Nothing is left of it here.
    pub(super) fn take(&mut self) -> Request {
        let body = mem::take(&mut self.body);
        let body = match self.trailers.take() {
            None => Body::from(body),
            Some(trailers) => {
                Body::new(Full::new(body).with_trailers(async { Some(Ok(*trailers)) }))
            }
        };
        self.take_with(body)
    }

    /// The same with a body that has not been read.
    pub(super) fn take_with(&mut self, body: Body) -> Request {
        let mut request = Request::new(body);
        *request.method_mut() = mem::take(&mut self.parts.method);
        *request.uri_mut() = mem::take(&mut self.parts.uri);
        *request.version_mut() = self.parts.version;
        *request.headers_mut() = mem::take(&mut self.parts.headers);
        *request.extensions_mut() = mem::take(&mut self.parts.extensions);
        request
    }
}

/// A body whose length is not known.
struct Endless;

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// In axum's error only the innermost cause tells a limit from a broken connection.
fn is_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
