//! Reads the rest of a request that is refused.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use bytes::Bytes;
use http::{Version, header::EXPECT};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};

/// How much of an unwanted body is read, and for how long. A server closes the connection if it has not read the request
/// to its end, and a client that is still sending is then reset before it reads the response.
const MAX_UNWANTED: u64 = 8 * 1024 * 1024;
const MAX_UNWANTED_WAIT: Duration = Duration::from_secs(2);

/// The same request. What is left of its body when it is dropped is read in the background, and discarded.
pub(super) fn read_on(request: Request) -> Request {
    // HTTP/2 ends only the stream, and the connection stays open.
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return request;
    }
    let mut expectations = request.headers().get_all(EXPECT).iter();
    let is_announced =
        expectations.any(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    request.map(|body| {
        Body::new(ReadOn {
            body,
            is_announced,
            length: 0,
        })
    })
}

struct ReadOn {
    /// Empty once the body has ended.
    body: Body,
    /// Whether the client waits to be asked for the body, which reading would do.
    is_announced: bool,
    /// How much has been read.
    length: u64,
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
        if self.is_announced || self.body.is_end_stream() {
            return;
        }
        // There is no runtime any more when the process ends.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut body = std::mem::take(&mut self.body);
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
