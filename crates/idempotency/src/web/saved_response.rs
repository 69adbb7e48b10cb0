//! A response as bytes: what a store keeps of it, and how it is replayed.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime, UNIX_EPOCH},
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
    HttpConfig, StoreError, engine::Replay, execution::OutcomeKind, outcome, outcome::StoredOutcome,
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
    let most = config.max_stored_body_in(limit);
    let (mut parts, mut body) = response.into_parts();
    if let Some(trace) = &config.traceresponse {
        trace.mark(&mut parts.headers);
    }
    if let Some(outcome) = replay_with::in_place_of(config, limit, kind, &mut parts) {
        return Ok((Response::from_parts(parts, body), outcome));
    }
    if is_event_stream(&parts.headers) || body.size_hint().lower() > most as u64 {
        let tombstone = tombstone(config, &parts.headers);
        return Ok((Response::from_parts(parts, body), tombstone));
    }
    if matches!(
        parts.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        // RFC 9110 sections 15.3.5 and 15.4.5: these statuses have no body, whatever the handler put there.
        parts.headers.remove(header::CONTENT_LENGTH);
        body = Body::empty();
    }

    let mut read = VecDeque::new();
    let mut length = 0;
    let mut deadline = None;
    loop {
        let Ok(frame) = next_frame(&mut body, &mut deadline).await else {
            let tombstone = tombstone(config, &parts.headers);
            return Ok((Response::from_parts(parts, resume(read, body)), tombstone));
        };
        let Some(frame) = frame.transpose()? else {
            break;
        };
        length += frame.data_ref().map_or(0, Bytes::len);
        read.push_back(frame);
        if length > most {
            let tombstone = tombstone(config, &parts.headers);
            return Ok((Response::from_parts(parts, resume(read, body)), tombstone));
        }
    }
    let trailers = match read.back() {
        Some(frame) if frame.is_trailers() => {
            read.pop_back().and_then(|frame| frame.into_trailers().ok())
        }
        _ => None,
    };
    // The body has a length now, and hyper rejects a response that claims to be chunked as well.
    parts.headers.remove(header::TRANSFER_ENCODING);
    let bytes = join(read, length);
    let mut saved = write(config, &parts, &bytes);
    if saved.len() > limit {
        saved = tombstone(config, &parts.headers);
    }
    let body = match trailers {
        None => Body::from(bytes),
        Some(trailers) => Body::new(Full::new(bytes).with_trailers(async { Some(Ok(trailers)) })),
    };
    Ok((Response::from_parts(parts, body), saved))
}

/// The next frame, unless the body takes too long for it.
async fn next_frame(
    body: &mut Body,
    deadline: &mut Option<Instant>,
) -> Result<Option<Result<Frame<Bytes>, axum::Error>>, Elapsed> {
    // Hardly any body has to be waited for. The thread that writes to SQLite has no timer, and fails such a body.
    if let Some(frame) = body.frame().now_or_never() {
        return Ok(frame);
    }
    if Handle::try_current().is_err() {
        return Ok(body.frame().await);
    }
    let deadline = *deadline.get_or_insert_with(|| Instant::now() + MAX_WAIT);
    Box::pin(timeout_at(deadline, body.frame())).await
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
    /// HTTP has no dates from the year 10,000 on.
    const NO_DATE: Duration = Duration::from_secs(253_402_300_800);
    let since_1970 = expires_at.duration_since(UNIX_EPOCH);
    if since_1970.is_ok_and(|since| since >= NO_DATE) {
        return;
    }
    let date = httpdate::fmt_http_date(expires_at);
    if let Ok(date) = HeaderValue::from_maybe_shared(Bytes::from(date)) {
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
    let location = headers.get(header::LOCATION);
    let location = location.filter(|value| config.keeps(&header::LOCATION, value, headers));
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

/// Usually there is one frame, which is not copied.
fn join(mut read: VecDeque<Frame<Bytes>>, length: usize) -> Bytes {
    if read.len() <= 1 {
        return read
            .pop_front()
            .and_then(|frame| frame.into_data().ok())
            .unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(length);
    read.into_iter()
        .filter_map(|frame| frame.into_data().ok())
        .for_each(|data| joined.put(data));
    joined.freeze()
}

/// The format: the status, the number of fields, each field as two lengths, name and value; then the body.
fn write(config: &HttpConfig, parts: &Parts, body: &Bytes) -> Bytes {
    let kept = || {
        parts
            .headers
            .iter()
            .filter(|(name, value)| config.keeps(name, value, &parts.headers))
    };
    let (count, size) = kept().fold((0_u16, 4), |(count, size), (name, value)| {
        (count + 1, size + 6 + name.as_str().len() + value.len())
    });
    let mut saved = outcome::response(size + body.len());
    saved.put_u16(parts.status.as_u16());
    saved.put_u16(count);
    for (name, value) in kept() {
        // The http crate keeps names below 64 KiB, and hyper values far below 4 GiB.
        saved.put_u16(u16::try_from(name.as_str().len()).expect("a header name is short"));
        saved.put_u32(u32::try_from(value.len()).expect("a header value is short"));
        saved.put_slice(name.as_str().as_bytes());
        saved.put_slice(value.as_bytes());
    }
    saved.put_slice(body);
    saved.into()
}

/// The response whose bytes these are.
pub(super) fn read(mut saved: Bytes) -> Result<http::Response<Bytes>, StoreError> {
    let mut response = http::Response::new(Bytes::new());
    let status = StatusCode::from_u16(saved.try_get_u16().map_err(damaged)?).map_err(damaged)?;
    let count = saved.try_get_u16().map_err(damaged)?;
    let headers = response.headers_mut();
    headers.reserve(usize::from(count) + 2);
    for _ in 0..count {
        let name = usize::from(saved.try_get_u16().map_err(damaged)?);
        let value = saved.try_get_u32().map_err(damaged)? as usize;
        if saved.remaining() < name + value {
            return Err(damaged("it ends within a header"));
        }
        let name = HeaderName::from_bytes(&saved.split_to(name)).map_err(damaged)?;
        let value = HeaderValue::from_maybe_shared(saved.split_to(value)).map_err(damaged)?;
        headers.append(name, value);
    }
    *response.status_mut() = status;
    *response.body_mut() = saved;
    Ok(response)
}

fn damaged(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::unreadable(source)
}
