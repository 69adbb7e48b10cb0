//! A call that may panic.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
    thread,
};

use pin_project_lite::pin_project;

pin_project! {
    /// A future, and the panic of the call that should have made it. An `async` block would have two places for the future.
    #[project = CaughtProjection]
    pub(super) enum Caught<F> {
        Called { #[pin] future: F },
        Panicked { panic: Option<Box<dyn Any + Send>> },
    }
}

impl<F> Caught<F> {
    pub(super) fn call(call: impl FnOnce() -> F) -> Self {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(future) => Self::Called { future },
            Err(panic) => Self::Panicked { panic: Some(panic) },
        }
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = thread::Result<F::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            CaughtProjection::Called { future } => {
                match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
                    Ok(polled) => polled.map(Ok),
                    Err(panic) => Poll::Ready(Err(panic)),
                }
            }
            CaughtProjection::Panicked { panic } => {
                let panic = panic.take();
                Poll::Ready(Err(panic.expect("it is not polled after its end")))
            }
        }
    }
}
