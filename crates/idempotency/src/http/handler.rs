//! What `#[idempotent]` makes of a function.

use std::{cell::Cell, fmt, ops::Deref, panic::AssertUnwindSafe};

use axum::{
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::BoxFuture};

use super::{
    HttpConfig, exchange::protect, policy::Author, problem::Problem, read_on::read_on,
    request::Methods,
};
use crate::{Idempotency, Options};

/// A handler that runs once for each key: the constant that `#[idempotent]` puts in place of a function.
///
/// It is a handler for axum's routers, and can still be called like the function it was.
#[derive(Clone, Copy)]
pub struct Idempotent<H> {
    options: Options,
    handler: H,
}

/// Protects a handler whose body goes through [`run`]. Of one that does not, nothing would be stored, so only the
/// attribute calls this.
#[doc(hidden)]
pub const fn protected<H>(options: Options, handler: H) -> Idempotent<H> {
    Idempotent { options, handler }
}

impl<H> Idempotent<H> {
    /// The same handler in transactional mode, or under a lease: for a service that is configured at its start to keep its
    /// keys in the database of its transactions or elsewhere.
    #[must_use]
    pub const fn transactional(mut self, transactional: bool) -> Self {
        self.options = self.options.transactional(transactional);
        self
    }
}

tokio::task_local! {
    /// Whether the user's function has begun: if not, an extractor gave the answer.
    static BEGUN: Cell<bool>;
}

/// The body of a handler in a box, with a note that it has begun.
#[doc(hidden)]
pub fn run<'a, F>(body: F) -> BoxFuture<'a, F::Output>
where
    F: Future + Send + 'a,
{
    Box::pin(async {
        // A function that is called directly, in a unit test, has nobody to tell.
        let _ = BEGUN.try_with(|begun| begun.set(true));
        body.await
    })
}

/// [`run`] for a handler whose return type has no name.
#[doc(hidden)]
pub fn run_into_response<'a, F>(body: F) -> BoxFuture<'a, Response>
where
    F: Future<Output: IntoResponse> + Send + 'a,
{
    run(async { body.await.into_response() })
}

impl<H, T, S> Handler<T, S> for Idempotent<H>
where
    H: Handler<T, S>,
    S: Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            let Some(idempotency) = request.extensions().get::<Idempotency>().cloned() else {
                let missing = "The router has no engine: add .layer(Extension(Idempotency::new(…))) around the \
                               routes of #[idempotent] handlers.";
                tracing::error!("{missing}");
                drop(read_on(request));
                return Problem::Misconfigured(missing).into_response(&HttpConfig::default());
            };
            let Self { options, handler } = self;
            protect(
                &idempotency,
                &options,
                Methods::NotSafe,
                request,
                |request| {
                    BEGUN.scope(Cell::new(false), async {
                        let called = handler.call(request, state);
                        // Caught in here, because an extractor can panic as well.
                        let response = AssertUnwindSafe(called).catch_unwind().await;
                        let author = if BEGUN.with(Cell::get) {
                            Author::Handler
                        } else {
                            Author::Gate
                        };
                        (response, author)
                    })
                },
            )
            .await
        })
    }
}

/// The function itself, without protection, as unit tests call it.
impl<H> Deref for Idempotent<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handler
    }
}

impl<H> fmt::Debug for Idempotent<H> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Idempotent")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
