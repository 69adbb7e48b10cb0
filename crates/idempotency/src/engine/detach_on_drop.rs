//! Work that continues in the background when its caller drops it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, ready},
    thread,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Handle;
use tracing::Span;

/// Work that runs where it is awaited, and continues in a task of its own once it is dropped there.
///
/// Most callers stay to the end. Spawning a task for each run from the start would cost all of them two task switches.
pub(crate) struct DetachOnDrop<T: Send + 'static> {
    /// `None` once it has ended.
    run: Option<Run<T>>,
    // Stored, because the caller may drop this outside of the runtime.
    runtime: Handle,
}

/// The work itself, whose panics are caught.
// In one step, because each future around another one is a copy of it on its way into the box.
struct Run<T> {
    /// `None` only while it is dropped.
    work: Option<BoxFuture<'static, T>>,
    /// Log lines of the work still belong to the request after the request has gone.
    span: Span,
}

impl<T: Send + 'static> DetachOnDrop<T> {
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            run: Some(Run {
                work: Some(Box::pin(work)),
                span: Span::current(),
            }),
            runtime: Handle::current(),
        }
    }
}

impl<T: Send + 'static> Future for DetachOnDrop<T> {
    /// An error if it panicked.
    type Output = thread::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(run) = &mut self.run else {
            panic!("a run is not polled after its end");
        };
        let ended = ready!(run.poll_unpin(context));
        self.run = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for DetachOnDrop<T> {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.runtime.spawn(run.map(drop));
        }
    }
}

impl<T> Future for Run<T> {
    type Output = thread::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { work, span } = &mut *self;
        let work = work.as_mut().expect("it is not being dropped");
        let _entered = span.enter();
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<T> Drop for Run<T> {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        self.work = None;
    }
}
