//! Bodies that do not take for ever.

use std::{
    error::Error,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Exchange;

/// How long the body of a request may take: a minute, in which the longest one that is read, of 64 KiB, arrives over the
/// slowest of lines.
const MAX_BODY: Duration = Duration::from_secs(60);

/// How much of a response is handed over at one time. What was handed over is kept until the client reads it.
const PIECE: usize = 16 * 1024;

/// The body of a request, which has to arrive in time.
#[derive(Debug)]
pub(super) struct InTime {
    body: Incoming,
    started: Instant,
    /// `None` until it has to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl InTime {
    pub(super) fn new(body: Incoming) -> Self {
        Self {
            body,
            started: Instant::now(),
            deadline: None,
        }
    }
}

impl HttpBody for InTime {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        // The deadline first: a body that comes byte by byte always has something.
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(late())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.deadline.is_none() {
            let mut deadline = Box::pin(sleep_until(this.started + MAX_BODY));
            if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Err(late())));
            }
            this.deadline = Some(deadline);
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn late() -> Box<dyn Error + Send + Sync> {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// The body of a response, in pieces, with a note of when the client took the last one.
#[derive(Debug)]
pub(super) struct Paced(Exchange);

impl Paced {
    pub(super) fn new(body: Body, exchange: Exchange) -> Self {
        {
            let mut unread = exchange.unread.lock();
            unread.body = body;
            unread.waits_since = Some(Instant::now());
        }
        Self(exchange)
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
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
