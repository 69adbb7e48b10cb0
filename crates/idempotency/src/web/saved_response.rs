//! A response as bytes: what a store keeps of it, and how it is replayed.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use axum::{
    body::{Body, HttpBody},
    response::Response,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::{
    runtime::Handle,
    time::{Instant, error::Elapsed, timeout_at},
};

use super::{problem::Problem, replay_with};
use crate::{
    HttpConfig,
    engine::Replay,
    execution::OutcomeKind,
    outcome::{self, StoredOutcome},
    store::StoreError,
};

/// How long a body is waited for. A body that takes longer may be endless, and is streamed to its first client.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Reads the response to its end and serializes it. If it is too long, for the configuration or for a store with this
/// limit, or has not ended after some seconds, returns it partly read, with a tombstone. A response that is not stored
/// reaches its first client whole.
pub(super) async fn save(
    config: &HttpConfig,
    limit: usize,
    kind: OutcomeKind,
    response: Response,
) -> Result<(Response, Bytes), axum::Error> {
    match save_at_once(config, limit, kind, response) {
        Ok(saved) => saved,
        Err(unread) => Box::pin(save_rest(config, limit, *unread)).await,
    }
}

/// A response whose body has not ended yet.
pub(super) struct Unread {
    parts: Parts,
    body: Body,
    /// What has been read of it. Usually it has one frame.
    first: Option<Frame<Bytes>>,
    more: Vec<Frame<Bytes>>,
    length: usize,
}

/// Does the same without waiting: an error is a response that has to be waited for.
pub(super) fn save_at_once(
    config: &HttpConfig,
    limit: usize,
    kind: OutcomeKind,
    response: Response,
) -> Result<Result<(Response, Bytes), axum::Error>, Box<Unread>> {
    let most = config.max_stored_body_in(limit);
    let (mut parts, mut body) = response.into_parts();
    if let Some(trace) = &config.traceresponse {
        trace.mark(&mut parts.headers);
    }
    if let Some(outcome) = replay_with::in_place_of(config, limit, kind, &mut parts) {
        return Ok(Ok((Response::from_parts(parts, body), outcome)));
    }
    if is_event_stream(&parts.headers) || body.size_hint().lower() > most as u64 {
        let tombstone = tombstone(config, &parts.headers);
        return Ok(Ok((Response::from_parts(parts, body), tombstone)));
    }
    if matches!(
        parts.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        // RFC 9110 sections 15.3.5 and 15.4.5: these statuses have no body, whatever the handler put there.
        parts.headers.remove(header::CONTENT_LENGTH);
        body = Body::empty();
    }
    let mut unread = Unread {
        parts,
        body,
        first: None,
        more: Vec::new(),
        length: 0,
    };
    loop {
        let Some(frame) = unread.body.frame().now_or_never() else {
            return Err(Box::new(unread));
        };
        match frame.transpose() {
            Ok(Some(frame)) => unread.add(frame),
            Ok(None) => return Ok(Ok(unread.saved(config, limit))),
            Err(error) => return Ok(Err(error)),
        }
        if unread.length > most {
            return Ok(Ok(unread.unsaved(config)));
        }
    }
}

/// Waits for the rest of the body.
pub(super) async fn save_rest(
    config: &HttpConfig,
    limit: usize,
    mut unread: Unread,
) -> Result<(Response, Bytes), axum::Error> {
    let most = config.max_stored_body_in(limit);
    let mut deadline = None;
    loop {
        match next_frame(&mut unread.body, &mut deadline).await {
            Ok(Some(frame)) => unread.add(frame?),
            Ok(None) => return Ok(unread.saved(config, limit)),
            Err(_) => return Ok(unread.unsaved(config)),
        }
        if unread.length > most {
            return Ok(unread.unsaved(config));
        }
    }
}

impl Unread {
    fn add(&mut self, frame: Frame<Bytes>) {
        self.length += frame.data_ref().map_or(0, Bytes::len);
        match self.first {
            None => self.first = Some(frame),
            Some(_) => self.more.push(frame),
        }
    }

    /// The whole response, and what is stored for it.
    fn saved(mut self, config: &HttpConfig, limit: usize) -> (Response, Bytes) {
        let last = self.more.last().or(self.first.as_ref());
        let trailers = if last.is_some_and(Frame::is_trailers) {
            let last = self.more.pop().or_else(|| self.first.take());
            last.and_then(|frame| frame.into_trailers().ok())
        } else {
            None
        };
        // The body has a length now, and hyper rejects a response that claims to be chunked as well.
        self.parts.headers.remove(header::TRANSFER_ENCODING);
        let bytes = join(self.first, self.more, self.length);
        let mut saved = write(config, &self.parts, &bytes);
        if saved.len() > limit {
            saved = tombstone(config, &self.parts.headers);
        }
        let body = match trailers {
            None => Body::from(bytes),
            Some(trailers) => {
                Body::new(Full::new(bytes).with_trailers(async { Some(Ok(trailers)) }))
            }
        };
        (Response::from_parts(self.parts, body), saved)
    }

    /// The response as far as it was read, followed by the rest, and a tombstone.
    fn unsaved(self, config: &HttpConfig) -> (Response, Bytes) {
        let tombstone = tombstone(config, &self.parts.headers);
        let read = self.first.into_iter().chain(self.more).collect();
        let body = resume(read, self.body);
        (Response::from_parts(self.parts, body), tombstone)
    }
}

/// The next frame, unless the body takes too long for it.
async fn next_frame(
    body: &mut Body,
    deadline: &mut Option<Instant>,
) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, Elapsed> {
    if let Some(frame) = body.frame().now_or_never() {
        return Ok(frame);
    }
    // The thread that writes to SQLite has no timer, and fails such a body.
    if Handle::try_current().is_err() {
        return Ok(body.frame().await);
    }
    let deadline = *deadline.get_or_insert_with(|| Instant::now() + MAX_WAIT);
    timeout_at(deadline, body.frame()).await
}

/// Replays a stored response.
pub(super) fn replay(config: &HttpConfig, replay: Replay) -> Result<Response, Problem> {
    let mut response = decode(replay.outcome)?;
    let headers = response.headers_mut();
    headers.insert(&config.replayed, HeaderValue::from_static("true"));
    // The age of the response is not recorded, so a cache would treat it as fresh for its whole lifetime again. Of two
    // lines the stricter one applies (RFC 9111 section 4.2.1).
    if headers.contains_key(header::CACHE_CONTROL) || headers.contains_key(header::EXPIRES) {
        headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    announce_expiry(config, &mut response, replay.expires_at);
    Ok(response)
}

/// Restores a stored response, perhaps for the first time.
pub(super) fn decode(outcome: Bytes) -> Result<Response, Problem> {
    match StoredOutcome::read(outcome)? {
        StoredOutcome::Response(saved) => Ok(read(saved)?.map(Body::from)),
        StoredOutcome::Erased => Err(Problem::ResponseErased),
        StoredOutcome::ReplayValue(_) => {
            tracing::error!(
                "a response can only be rebuilt from its stored value, and the handler has no `replay` function",
            );
            Err(Problem::ResponseUnavailable)
        }
        StoredOutcome::Tombstone(location) => {
            let location = HeaderValue::from_maybe_shared(location)
                .ok()
                .filter(|location| !location.is_empty());
            Err(Problem::ResponseNotStored { location })
        }
    }
}

/// Announces until when the response is replayed.
pub(super) fn announce_expiry(
    config: &HttpConfig,
    response: &mut Response,
    expires_at: SystemTime,
) {
    if let Some(date) = config.dates.date(expires_at) {
        response.headers_mut().insert(&config.expires, date);
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let essence = value.as_bytes().split(|&byte| byte == b';').next();
        essence.is_some_and(|essence| {
            essence
                .trim_ascii()
                .eq_ignore_ascii_case(b"text/event-stream")
        })
    })
}

/// What is stored for a response with these fields that is not stored itself.
pub(super) fn tombstone(config: &HttpConfig, headers: &HeaderMap) -> Bytes {
    tombstone_at(kept_location(config, headers))
}

/// The `Location` of a response, if it may be stored.
pub(super) fn kept_location<'a>(
    config: &HttpConfig,
    headers: &'a HeaderMap,
) -> Option<&'a HeaderValue> {
    let location = headers.get(header::LOCATION);
    location.filter(|value| config.keeps(&header::LOCATION, value, headers))
}

/// A tombstone with this location.
pub(super) fn tombstone_at(location: Option<&HeaderValue>) -> Bytes {
    let location = location.map(HeaderValue::as_bytes).unwrap_or_default();
    let mut tombstone = outcome::tombstone(location.len());
    tombstone.extend(location);
    tombstone.into()
}

/// The frames that were read, followed by the rest.
fn resume(read: VecDeque<Frame<Bytes>>, rest: Body) -> Body {
    let frames = stream::unfold((read, rest), async |(mut read, mut rest)| {
        let frame = match read.pop_front() {
            Some(frame) => Ok(frame),
            None => rest.frame().await?,
        };
        Some((frame, (read, rest)))
    });
    Body::new(StreamBody::new(frames))
}

/// A single frame is not copied.
fn join(first: Option<Frame<Bytes>>, more: Vec<Frame<Bytes>>, length: usize) -> Bytes {
    let data = |frame: Frame<Bytes>| frame.into_data().ok();
    if more.is_empty() {
        return first.and_then(data).unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(length);
    first
        .into_iter()
        .chain(more)
        .filter_map(data)
        .for_each(|data| joined.put(data));
    joined.freeze()
}

/// The format: the status, the number of fields, each field as two lengths, name and value; then the body.
fn write(config: &HttpConfig, parts: &Parts, body: &Bytes) -> Bytes {
    let length = |(name, value): (&HeaderName, &HeaderValue)| 6 + name.as_str().len() + value.len();
    let most: usize = parts.headers.iter().map(length).sum();
    let mut saved = outcome::response(4 + most + body.len());
    saved.put_u16(parts.status.as_u16());
    let count_at = saved.len();
    saved.put_u16(0);
    let mut count: u16 = 0;
    for (name, value) in &parts.headers {
        if !config.keeps(name, value, &parts.headers) {
            continue;
        }
        count += 1;
        // The http crate keeps names below 64 KiB, and hyper values far below 4 GiB.
        saved.put_u16(u16::try_from(name.as_str().len()).expect("a header name is short"));
        saved.put_u32(u32::try_from(value.len()).expect("a header value is short"));
        saved.put_slice(name.as_str().as_bytes());
        saved.put_slice(value.as_bytes());
    }
    saved[count_at..][..size_of::<u16>()].copy_from_slice(&count.to_be_bytes());
    saved.put_slice(body);
    saved.into()
}

/// The response whose bytes these are.
pub(super) fn read(mut saved: Bytes) -> Result<http::Response<Bytes>, StoreError> {
    let mut response = http::Response::new(Bytes::new());
    let status = StatusCode::from_u16(saved.try_get_u16().map_err(damaged)?).map_err(damaged)?;
    let count = saved.try_get_u16().map_err(damaged)?;
    let headers = response.headers_mut();
    // A replay adds its marker and its expiry, and axum the length of the body. A map has a limit, beyond which it would panic.
    headers
        .try_reserve(usize::from(count) + 3)
        .map_err(damaged)?;
    for _ in 0..count {
        let name = usize::from(saved.try_get_u16().map_err(damaged)?);
        let value = saved.try_get_u32().map_err(damaged)? as usize;
        if saved.remaining() < name.saturating_add(value) {
            return Err(damaged("it ends within a header"));
        }
        let name = HeaderName::from_bytes(&saved.split_to(name)).map_err(damaged)?;
        let value = HeaderValue::from_maybe_shared(saved.split_to(value)).map_err(damaged)?;
        headers.try_append(name, value).map_err(damaged)?;
    }
    *response.status_mut() = status;
    *response.body_mut() = saved;
    Ok(response)
}

fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::unreadable(source)
}
