//! Work that continues in the background when its caller drops it.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::runtime::Handle;
use tracing::Instrument;

/// Work that runs where it is awaited, and continues in a task of its own once it is dropped there.
///
/// Most callers stay to the end. Spawning a task for each run from the start would cost all of them two task switches.
pub(crate) struct DetachOnDrop<T: Send + 'static> {
    /// `None` once it has ended.
    run: Option<BoxFuture<'static, thread::Result<T>>>,
    // Stored, because the caller may drop this outside of the runtime.
    runtime: Handle,
}

impl<T: Send + 'static> DetachOnDrop<T> {
    pub(crate) fn new(run: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            // Log lines of the work still belong to the request after the request has gone.
            run: Some(
                AssertUnwindSafe(run)
                    .catch_unwind()
                    .in_current_span()
                    .boxed(),
            ),
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
        let ended = std::task::ready!(run.as_mut().poll(context));
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
