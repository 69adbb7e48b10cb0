//! Requests without a key: they pass unprotected, and no box is made for them, because most requests of many services have none.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{extract::Request, response::Response};
use futures_util::future::BoxFuture;
use pin_project_lite::pin_project;
use tracing::{Instrument, instrument::Instrumented};

use super::{
    commit::Unprotected,
    exchange::{self, Called, Exchange},
    refusal::settle,
    request::{self, Methods},
};
use crate::{
    Idempotency, Options,
    engine::{RequestOutcome, Tally},
};

pin_project! {
    /// The response to a request: that of a request that passes, or any other.
    #[project = RespondingProjection]
    pub enum Responding<F: Future> {
        /// It passes.
        Passing { #[pin] passing: Passing<F> },
        /// It is protected, or refused.
        Boxed { response: BoxFuture<'static, Response> },
    }
}

pin_project! {
    /// A request that passes, in the future of the handler or service.
    pub struct Passing<F: Future> {
        #[pin]
        handling: Instrumented<F>,
        respond: fn(F::Output) -> Response,
        idempotency: Idempotency,
        // Taken at the end, so that the request is counted before its response goes on.
        tally: Option<Tally>,
    }
}

/// Whether the head of this request alone tells that it passes.
pub(super) fn passes(
    idempotency: &Idempotency,
    options: &Options,
    methods: Methods,
    request: &Request,
) -> bool {
    let options = idempotency.effective(options);
    !methods.protect(request.method())
        || options.key.is_none()
            && !options.required
            && request::has_no_key(idempotency.http(), request.headers())
            && !idempotency.http().refuses_without_key(request.headers())
}

impl<F: Future> Responding<F> {
    /// Calls the handler, whose result this function makes a response.
    pub(super) fn unprotected(
        idempotency: Idempotency,
        methods: Methods,
        mut request: Request,
        call: impl FnOnce(Request) -> F,
        respond: fn(F::Output) -> Response,
    ) -> Self {
        let mut tally = exchange::tally(&idempotency, methods, &request);
        tally.note(RequestOutcome::Unprotected);
        request.extensions_mut().insert(Unprotected);
        let span = tally.span();
        let handling = span.in_scope(|| call(request)).instrument(span);
        Self::Passing {
            passing: Passing {
                handling,
                respond,
                idempotency,
                tally: Some(tally),
            },
        }
    }

    /// Claims the key of the request first.
    pub(super) fn protected<C, R>(exchange: Exchange<C>) -> Self
    where
        C: FnOnce(Request) -> R + Send + 'static,
        R: Future<Output = Called> + Send + 'static,
    {
        Self::boxed(exchange.respond())
    }

    pub(super) fn boxed(response: impl Future<Output = Response> + Send + 'static) -> Self {
        let response = Box::pin(response);
        Self::Boxed { response }
    }
}

impl<F: Future> Future for Responding<F> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match self.project() {
            RespondingProjection::Passing { passing } => passing.poll(context),
            RespondingProjection::Boxed { response } => response.as_mut().poll(context),
        }
    }
}

impl<F: Future> Future for Passing<F> {
    type Output = Response;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        let this = self.project();
        // Without a key a panic propagates as it would without protection.
        let response = (this.respond)(ready!(this.handling.poll(context)));
        *this.tally = None;
        Poll::Ready(settle(this.idempotency.http(), response))
    }
}
