//! Bodies of requests, and what is done with the rest of one that is refused.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use bytes::Bytes;
use http::{Version, header::EXPECT, request::Parts};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};

/// How much of an unwanted body is read, and for how long. A server closes the connection if it has not read the request
/// to its end, and a client that is still sending is then reset before it reads the response.
const MAX_UNWANTED: u64 = 8 * 1024 * 1024;
const MAX_UNWANTED_WAIT: Duration = Duration::from_secs(2);

/// Refuses a request: its body is read in the background, and discarded.
pub(super) fn read_on(request: Request) {
    let (head, body) = request.into_parts();
    drop(ReadOn::new(&head, body));
}

/// The body of a request. What is left of it when this is dropped is read in the background, and discarded.
pub(super) struct ReadOn {
    /// Empty once the body has ended.
    body: Body,
    /// Whether the connection can only be used on if it is read. HTTP/2 ends only the stream.
    holds_connection: bool,
    /// Whether the client waits to be asked for the body, which reading would do.
    is_announced: bool,
    /// How much has been read.
    length: u64,
}

impl ReadOn {
    pub(super) fn new(head: &Parts, body: Body) -> Self {
        let mut expectations = head.headers.get_all(EXPECT).iter();
        Self {
            body,
            holds_connection: head.version <= Version::HTTP_11,
            is_announced: expectations
                .any(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue")),
            length: 0,
        }
    }

    /// The body, for another reader.
    pub(super) fn take(&mut self) -> Body {
        mem::take(&mut self.body)
    }
}

impl HttpBody for ReadOn {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.is_announced = false;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => this.length += length(frame),
            Poll::Ready(_) => this.body = Body::empty(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ReadOn {
    fn drop(&mut self) {
        if !self.holds_connection || self.is_announced || self.body.is_end_stream() {
            return;
        }
        // There is no runtime any more when the process ends.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut body = mem::take(&mut self.body);
        let mut most = MAX_UNWANTED.saturating_sub(self.length);
        let reading = async move {
            while let Some(Ok(frame)) = body.frame().await {
                match most.checked_sub(length(&frame)) {
                    Some(rest) => most = rest,
                    None => return,
                }
            }
        };
        // A client that takes longer, or sends more, may lose the response.
        runtime.spawn(timeout(MAX_UNWANTED_WAIT, reading));
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}
