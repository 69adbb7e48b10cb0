//! The same protection around a whole router, or any tower service.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::{MatchedPath, OriginalUri, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::StatusCode;
use tower_layer::Layer;
use tower_service::Service;

use super::{exchange::protect, policy::Author, request::Methods};
use crate::{Idempotency, Options};

/// Protects every POST and PATCH of the services inside it, and other methods that are not idempotent.
///
/// ```
/// use axum::{Router, routing::post};
/// use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Options};
///
/// let idempotency = Idempotency::new(MemoryStore::new());
/// let app: Router = Router::new()
///     .route("/bookings", post(async || "booked"))
///     .layer(IdempotencyLayer::new(idempotency).with_options(Options::new().ttl_seconds(3600)));
/// ```
///
/// # Caveats
///
/// A layer cannot tell an extractor's refusal from the handler's own 4xx and stores both; where a corrected
/// body shall use the same key, put `#[idempotent]` on the handler. PUT and DELETE go through unprotected,
/// because they are idempotent by themselves (RFC 9110 section 9.2.2). A handler inside must not bear the
/// attribute as well: which of the two options would hold?
#[derive(Clone, Debug)]
pub struct IdempotencyLayer {
    idempotency: Idempotency,
    options: Options,
}

impl IdempotencyLayer {
    /// Protection by this engine, with default options.
    #[must_use]
    pub const fn new(idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            options: Options::new(),
        }
    }

    /// Protection with these options.
    #[must_use]
    pub const fn with_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = IdempotencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        IdempotencyService {
            layer: self.clone(),
            inner,
        }
    }
}

/// The service that [`IdempotencyLayer`] makes.
#[derive(Clone, Debug)]
pub struct IdempotencyService<S> {
    layer: IdempotencyLayer,
    inner: S,
}

impl<S, B> Service<http::Request<B>> for IdempotencyService<S>
where
    S: Service<Request, Response: IntoResponse, Error: Into<Infallible>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: HttpBody<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The clone has not been polled ready; the one that has been goes into the future.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let IdempotencyLayer {
            idempotency,
            options,
        } = self.layer.clone();
        let request = request.map(Body::new);
        let unrouted = request.extensions().get::<OriginalUri>().is_some()
            && request.extensions().get::<MatchedPath>().is_none();
        Box::pin(async move {
            let answer = protect(
                &idempotency,
                &options,
                Methods::NotIdempotent,
                request,
                move |request| async move {
                    let called = AssertUnwindSafe(async move {
                        match inner.call(request).await {
                            Ok(response) => response.into_response(),
                            Err(error) => match error.into() {},
                        }
                    });
                    let response = called.catch_unwind().await;
                    let author = match response.as_ref().map(Response::status) {
                        Ok(StatusCode::METHOD_NOT_ALLOWED) => Author::Gate,
                        Ok(StatusCode::NOT_FOUND) if unrouted => Author::Gate,
                        _ => Author::Handler,
                    };
                    (response, author)
                },
            );
            Ok(answer.await)
        })
    }
}
