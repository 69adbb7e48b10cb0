//! Bodies with time limits.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http::{Request, Version, header::EXPECT};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until, timeout_at},
};

use super::activity::{Activity, Arrival, Exchange};

type Failed = Box<dyn Error + Send + Sync>;

/// The size of the pieces in which hyper receives a response. hyper buffers a piece until the client reads it.
const PIECE: usize = 16 * 1024;

/// How much of an unwanted body is read, and for how long after the response. If the connection is closed while the client
/// still sends, the connection is reset and the client loses the response.
const MAX_UNWANTED: u64 = 8 * 1024 * 1024;
const UNWANTED_TIMEOUT: Duration = Duration::from_secs(2);

/// The body of a request, which must arrive in time. If the service does not read all of it, the rest is read in the background.
#[derive(Debug)]
pub(super) struct InTime {
    /// `None` once the body has ended.
    body: Option<Incoming>,
    arrival: Arc<Arrival>,
    /// The activity of an HTTP/1 connection, on which no other request can arrive in the meantime.
    activity: Option<Arc<Activity>>,
    /// Whether the client waits for 100 (Continue) before it sends the body.
    is_announced: bool,
    /// Keeps the connection open during shutdown while the rest of the body is read.
    rest: Option<Exchange>,
    /// How much has arrived.
    length: u64,
    /// When all of it must have arrived.
    until: Instant,
    /// `None` until the body has to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl InTime {
    /// The same request with this as its body.
    pub(super) fn of(
        request: Request<Incoming>,
        exchange: &Exchange,
        timeout: Duration,
    ) -> Request<Self> {
        let is_http1 = request.version() <= Version::HTTP_11;
        let mut expectations = request.headers().get_all(EXPECT).iter();
        let is_announced =
            expectations.any(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        request.map(|body| Self {
            body: Some(body),
            arrival: Arc::clone(&exchange.arrival),
            activity: is_http1.then(|| Arc::clone(&exchange.activity)),
            is_announced,
            rest: None,
            length: 0,
            until: Instant::now() + timeout,
            deadline: None,
        })
    }

    fn rest(&self) -> Option<Exchange> {
        let activity = self.activity.as_ref()?;
        Some(activity.begin(Version::HTTP_11))
    }

    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        // The deadline is polled first: a body that arrives byte by byte always has something to read.
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(late())));
        }
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if self.deadline.is_none() {
            let mut deadline = Box::pin(sleep_until(self.until));
            if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Err(late())));
            }
            self.deadline = Some(deadline);
        }
        Poll::Pending
    }
}

impl HttpBody for InTime {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        let this = self.get_mut();
        // hyper now asks the client for it.
        this.is_announced = false;
        let polled = this.poll_body(context);
        let awaits_body = &this.arrival.awaits_body;
        awaits_body.store(polled.is_pending(), Ordering::Relaxed);
        if this.rest.is_none() && this.arrival.responded.get().is_some() {
            this.rest = this.rest();
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => this.length += length(frame),
            Poll::Ready(_) => this.body = None,
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for InTime {
    fn drop(&mut self) {
        self.arrival.awaits_body.store(false, Ordering::Relaxed);
        let Some(body) = self.body.take() else {
            return;
        };
        if self.is_announced || body.is_end_stream() {
            return;
        }
        let Some(rest) = self.rest.take().or_else(|| self.rest()) else {
            return;
        };
        // When the process ends, there is no runtime any more.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let most = MAX_UNWANTED.saturating_sub(self.length);
        let responded = self.arrival.responded.get().copied();
        let until = responded.unwrap_or_else(Instant::now) + UNWANTED_TIMEOUT;
        runtime.spawn(async move {
            // A client that takes longer, or sends more, may lose the response.
            let _ = timeout_at(until, read_on(body, most)).await;
            drop(rest);
        });
    }
}

/// Reads at most this much and discards it.
async fn read_on(mut body: Incoming, mut most: u64) {
    while let Some(Ok(frame)) = body.frame().await {
        match most.checked_sub(length(&frame)) {
            Some(rest) => most = rest,
            None => return,
        }
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

fn late() -> Failed {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// The body of a response, in pieces, with a note of when the client took the last one.
#[derive(Debug)]
pub(super) struct Paced(Exchange);

impl Paced {
    pub(super) fn new(body: Body, exchange: Exchange) -> Self {
        {
            let now = Instant::now();
            // Set once, because each exchange has one response.
            let _ = exchange.arrival.responded.set(now);
            let mut unread = exchange.unread.lock();
            unread.body = body;
            unread.waits_since = Some(now);
        }
        Self(exchange)
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        let mut unread = self.0.unread.lock();
        if unread.is_given_up {
            return Poll::Ready(Some(Err(late())));
        }
        if unread.rest.is_empty() {
            unread.waits_since = None;
            let frame = ready!(Pin::new(&mut unread.body).poll_frame(context));
            unread.waits_since = Some(Instant::now());
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => unread.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => return Poll::Ready(None),
            }
        }
        unread.waits_since = Some(Instant::now());
        let length = unread.rest.len().min(PIECE);
        let piece = unread.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        let unread = self.0.unread.lock();
        !unread.is_given_up && unread.rest.is_empty() && unread.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let unread = self.0.unread.lock();
        let rest = unread.rest.len() as u64;
        let mut hint = unread.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}
