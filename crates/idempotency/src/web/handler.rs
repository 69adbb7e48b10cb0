//! The handler that `#[idempotent]` makes of a function.

use std::{
    cell::Cell,
    fmt,
    marker::PhantomData,
    ops::Deref,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    extract::{FromRequestParts, Request},
    handler::Handler,
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, future::BoxFuture};
use pin_project_lite::pin_project;

use super::{
    caught::Caught,
    engine_source::{EngineSource, InExtensions},
    exchange::{Called, Exchange, Handling},
    passing::{Responding, passes},
    policy::ProducedBy,
    principal::{Principal, ProvedBy, Unproved},
    problem::Problem,
    read_on::read_on,
    rebuild::{AsStored, Rebuilt, Replays},
    request::Methods,
};
use crate::{HttpConfig, Options, options::RunMode};

/// A handler that runs once for each key: the constant that `#[idempotent]` puts in place of a function.
///
/// It is a handler for axum's routers, and can still be called like the function.
#[derive(Clone, Copy)]
pub struct Idempotent<H, P = Unproved, E = InExtensions, R = AsStored> {
    options: Options,
    handler: H,
    principal: P,
    engine: PhantomData<E>,
    replays: R,
}

/// Protects a handler whose body goes through [`run`]. The response of any other handler would never be stored, so only
/// the attribute calls this.
#[doc(hidden)]
pub const fn protected<H, E>(options: Options, handler: H) -> Idempotent<H, Unproved, E> {
    Idempotent {
        options,
        handler,
        principal: Unproved,
        engine: PhantomData,
        replays: AsStored,
    }
}

/// Like [`protected`], with the extractor `P` proving the caller before anything else happens. Routers call `routed`,
/// which takes the extractor's value from the request.
#[doc(hidden)]
pub const fn protected_by<P, H, C, E>(
    options: Options,
    handler: H,
    routed: C,
) -> Idempotent<H, ProvedBy<P, C>, E>
where
    P: Principal,
    H: Copy,
    C: Copy,
{
    Idempotent {
        options,
        handler,
        principal: ProvedBy::new(routed),
        engine: PhantomData,
        replays: AsStored,
    }
}

/// The same handler, whose responses this function makes again for retries, from the values that are stored for them.
#[doc(hidden)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the attribute passes a value that it has just made"
)]
pub const fn replaying<H, P, E, F>(
    handler: Idempotent<H, P, E>,
    function: F,
) -> Idempotent<H, P, E, Rebuilt<F>>
where
    H: Copy,
    P: Copy,
    F: Copy,
{
    Idempotent {
        options: handler.options.rebuilding(),
        handler: handler.handler,
        principal: handler.principal,
        engine: PhantomData,
        replays: Rebuilt(function),
    }
}

impl<H, P, E, R> Idempotent<H, P, E, R> {
    /// Returns the same handler with a different mode than its attribute sets, for a service that chooses at its start
    /// whether its keys are in the database of its transactions.
    #[must_use]
    pub const fn mode(mut self, mode: RunMode) -> Self {
        self.options = self.options.mode(mode);
        self
    }

    /// What the attribute says, for [`Idempotency::describe_operation`](crate::Idempotency::describe_operation).
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }
}

/// On a handler for PUT or DELETE, the attribute is deliberate.
const METHODS: Methods = Methods::NotSafe;

tokio::task_local! {
    /// Whether the user's function has begun. If not, an extractor made the response.
    static BEGUN: Cell<bool>;
}

pin_project! {
    /// The body of a handler, which tells when it begins. An `async` block would have two places for it.
    struct Marked<F> {
        #[pin]
        body: F,
        has_begun: bool,
    }
}

impl<F: Future> Future for Marked<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if !*this.has_begun {
            *this.has_begun = true;
            // In a unit test, which calls the function directly, there is no flag to set.
            let _ = BEGUN.try_with(|begun| begun.set(true));
        }
        this.body.poll(context)
    }
}

/// Boxes the body of a handler, and records when it begins.
#[doc(hidden)]
pub fn run<'a, F>(body: F) -> BoxFuture<'a, F::Output>
where
    F: Future + Send + 'a,
{
    Box::pin(Marked {
        body,
        has_begun: false,
    })
}

/// Like [`run`], for a handler whose return type cannot be named.
#[doc(hidden)]
pub fn run_into_response<'a, F>(body: F) -> BoxFuture<'a, Response>
where
    F: Future<Output: IntoResponse> + Send + 'a,
{
    run(async { body.await.into_response() })
}

impl<H, T, S, E, R, M> Handler<(T, M), S> for Idempotent<H, Unproved, E, R>
where
    H: Handler<T, S>,
    E: EngineSource<S>,
    R: Replays<M, S>,
    S: Send + Sync + 'static,
{
    type Future = Responding<H::Future>;

    fn call(self, request: Request, state: S) -> Self::Future {
        let Some(idempotency) = E::engine(&request, &state) else {
            return Responding::boxed(async { no_engine(request) });
        };
        let (options, handler) = (self.options, self.handler);
        if passes(&idempotency, &options, METHODS, &request) {
            let call = |request| handler.call(request, state);
            return Responding::unprotected(idempotency, METHODS, request, call, |response| {
                response
            });
        }
        let rebuild = self.replays.rebuild(&state);
        let call = |request| begun_or_not(|| handler.call(request, state));
        let handling = Handling { call, rebuild };
        let exchange = Exchange::new(idempotency, &options, METHODS, None, request, handling);
        Responding::protected(exchange)
    }
}

impl<H, P, C, T, S, E, R, M> Handler<(T, M), S> for Idempotent<H, ProvedBy<P, C>, E, R>
where
    E: EngineSource<S>,
    H: Clone + Send + Sync + 'static,
    P: FromRequestParts<S> + Send + 'static,
    R: Replays<M, S>,
    C: Handler<T, S>,
    S: Send + Sync + 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, state: S) -> Self::Future {
        Box::pin(async move {
            let Some(idempotency) = E::engine(&request, &state) else {
                return no_engine(request);
            };
            // A caller that is refused here learns nothing of the key, and its body is not read. There is no hold yet, so
            // a panic propagates as it would without the attribute.
            match self.principal.prove(request, &state).await {
                Ok(request) => {
                    let rebuild = self.replays.rebuild(&state);
                    let (options, handler) = (self.options, self.principal.handler);
                    let call = |request| begun_or_not(|| handler.call(request, state));
                    let handling = Handling { call, rebuild };
                    let exchange =
                        Exchange::new(idempotency, &options, METHODS, None, request, handling);
                    exchange.respond().await
                }
                Err(rejection) => rejection,
            }
        })
    }
}

fn no_engine(request: Request) -> Response {
    let missing = "The router has no engine: add .layer(idempotency.extension()) around the \
                   routes of #[idempotent] handlers.";
    tracing::error!("{missing}");
    read_on(request);
    Problem::Misconfigured(missing).into_response(&HttpConfig::default())
}

/// Calls a handler, and tells whether its function has begun. A panic is caught, because an extractor can panic as well.
fn begun_or_not<F: Future<Output = Response>>(
    call: impl FnOnce() -> F,
) -> impl Future<Output = Called> {
    let called = Caught::call(call).map(|response| {
        let produced_by = if BEGUN.with(Cell::get) {
            ProducedBy::Handler
        } else {
            ProducedBy::BeforeHandler
        };
        (response, produced_by)
    });
    BEGUN.scope(Cell::new(false), called)
}

/// Calls the function itself, without protection, as unit tests do.
impl<H, P, E, R> Deref for Idempotent<H, P, E, R> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handler
    }
}

impl<H, P, E, R> fmt::Debug for Idempotent<H, P, E, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Idempotent")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
