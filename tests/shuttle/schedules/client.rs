//! Clients that stay, and clients that leave.

use std::{future::poll_fn, pin::pin, task::Poll};

use idempotency::{Rejection, Run, RunError};
use tokio::task::yield_now;

/// What a client's call returns.
pub(crate) type Reply = Result<Run<u32>, RunError<Failed>>;

/// The error of work that fails.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// Polls the call so many times, and then drops it some time later. Returns what it has returned, unless it was dropped.
pub(crate) async fn leave_after<F: Future>(polls: usize, call: F) -> Option<F::Output> {
    let (mut call, mut left) = (pin!(Some(call)), polls);
    let output = poll_fn(|context| {
        left -= 1;
        let call = call.as_mut().as_pin_mut().expect("a call");
        match call.poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if output.is_none() {
        yield_now().await;
    }
    call.set(None);
    output
}

/// The value of a reply that has to have one.
#[track_caller]
pub(crate) fn value(reply: Reply) -> u32 {
    match reply {
        Ok(run) => run.into_value(),
        Err(error) => panic!("no value: {error:?}"),
    }
}

/// The value of a reply that may be refused in this way.
#[track_caller]
pub(crate) fn value_unless(
    reply: Reply,
    may_be_refused: impl Fn(&Rejection) -> bool,
) -> Option<u32> {
    match reply {
        Err(RunError::Rejected(rejection)) if may_be_refused(&rejection) => None,
        reply => Some(value(reply)),
    }
}
