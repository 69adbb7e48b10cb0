//! Protection for a whole router, or for any tower service.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http::StatusCode;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    caught::Caught,
    exchange::{Exchange, Handling},
    passing::{Responding, passes},
    policy::ProducedBy,
    request::Methods,
};
use crate::{Idempotency, Options};

/// Use this **or** [`#[idempotent]`](macro@crate::idempotent), not both. The layer protects every POST and PATCH of the
/// services inside it, and other methods that are not idempotent.
///
/// A request with a key to an attributed handler inside of the layer gets 500 `misconfigured`, and the handler does not
/// run: one key would have two sets of options.
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Router, routing::post};
/// use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Options};
///
/// const OPTIONS: Options = Options::new().ttl(Duration::from_secs(3600));
///
/// let idempotency = Idempotency::new(MemoryStore::new());
/// let app: Router = Router::new()
///     .route("/bookings", post(async || "booked"))
///     .layer(IdempotencyLayer::new(idempotency).with_options(OPTIONS));
/// ```
///
/// # Where it belongs
///
/// ```text
/// request ─▶ CORS ─▶ compression ─▶ time limit ─▶ authentication ─▶ body limit ─▶ this layer ─▶ routes
///            runs on every request, replays too                                 │ runs once
/// ```
///
/// Services inside run once, and replays lack what they would add:
///
/// - CORS layer inside: its fields are not stored, so a browser does not show replays to the page. A warning is logged
///   once.
/// - Compression inside has no effect under a key: what is stored has to suit every retry, so `Accept-Encoding` is
///   `identity` inside.
/// - Time limit inside: it stops a run midway, and it is not known how far the run came. After a 408, 503 or 504 from
///   inside, the key stays taken until the lease expires, as after a crash. Then a retry runs again, or is refused with
///   [`OnLost::Refuse`](crate::OnLost). A response that reports no change has `Retry-After`, or the extension
///   [`Disposition::Release`](crate::Disposition::Release), and frees the key at once.
/// - Body limit inside, such as a route's `DefaultBodyLimit`: it does not limit the layer, which reads the body first.
///   See [`with_body_limit`](Self::with_body_limit).
///
/// # Which routes it protects
///
/// A layer of axum wraps the routes that the router has at that point. A route that is added later is not protected, and
/// can have the attribute with options of its own:
///
/// ```
/// # use axum::{Router, routing::post};
/// # use idempotency::{Idempotency, IdempotencyLayer, MemoryStore};
/// # let idempotency = Idempotency::new(MemoryStore::new());
/// let search = Router::new().route("/search", post(async || "found"));
/// let app: Router = Router::new()
///     .route("/bookings", post(async || "booked"))
///     .layer(IdempotencyLayer::new(idempotency))
///     .merge(search);
/// ```
///
/// A 404 and a 405 leave no record. The router's fallback is a handler like others if it responds with another status.
///
/// # Keys from elsewhere
///
/// The key can come from another field or from the body, by [`Options::key`]. The layer then reads every body of its routes whole,
/// also of requests without a key, if the key is in the body:
///
/// ```
/// use axum::{Router, http::StatusCode, routing::post};
/// use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, webhooks};
///
/// let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()));
/// let app: Router = Router::new()
///     .route("/webhooks/stripe", post(async |event: String| StatusCode::NO_CONTENT))
///     .layer(layer.with_options(webhooks::STRIPE));
/// ```
///
/// # Caveats
///
/// A layer cannot tell an extractor's refusal from the handler's own 4xx, and stores both. If clients are to send a
/// corrected body with the same key, put `#[idempotent]` on the handler. PUT and DELETE pass unprotected, because they
/// are idempotent by definition (RFC 9110 section 9.2.2).
///
/// A layer stores responses, and cannot rebuild them as [`replay`](crate::idempotent#a-response-that-is-not-stored) of the
/// attribute does: it does not know the state of the routes inside, nor which of them a function would be for. A response that
/// holds a credential is marked with [`Disposition::Tombstone`](crate::Disposition::Tombstone). One with a
/// [`ReplayWith`](crate::ReplayWith) is treated like that, and logged as an error.
///
/// gRPC under a key is refused with 500: its status is in trailers, which are not stored. Leave its routes out.
#[derive(Clone, Debug)]
pub struct IdempotencyLayer {
    idempotency: Idempotency,
    options: Options,
    body_limit: Option<usize>,
}

impl IdempotencyLayer {
    /// Protects with this engine, and with its default options.
    #[must_use]
    pub const fn new(idempotency: Idempotency) -> Self {
        Self {
            idempotency,
            options: Options::new(),
            body_limit: None,
        }
    }

    /// Sets the options.
    #[must_use]
    pub const fn with_options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Reads bodies of up to this many bytes, for routes inside that accept more than 2 MB.
    ///
    /// ```
    /// use axum::{Router, extract::DefaultBodyLimit, routing::post};
    /// use idempotency::{Idempotency, IdempotencyLayer, MemoryStore};
    ///
    /// const MB: usize = 1024 * 1024;
    ///
    /// let upload = post(async |body: String| body.len().to_string()).layer(DefaultBodyLimit::max(10 * MB));
    /// let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new())).with_body_limit(10 * MB);
    /// let app: Router = Router::new()
    ///     .route("/uploads", upload)
    ///     .route("/bookings", post(async |body: String| body))
    ///     .layer(layer);
    /// ```
    ///
    /// The layer reads a request with a key before any route inside does, and so before a route's own `DefaultBodyLimit`.
    /// Set the highest limit of all routes: each route inside still refuses what is above its own limit. By default the
    /// layer uses the `DefaultBodyLimit` outside of it, or axum's 2 MB. Longer bodies are refused with 413.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = Some(bytes);
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
    type Future = Serving<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let request = request.map(Body::new);
        let layer = &self.layer;
        if passes(&layer.idempotency, &layer.options, METHODS, &request) {
            let (idempotency, inner) = (layer.idempotency.clone(), &mut self.inner);
            let call = |request| inner.call(request);
            let response = Responding::unprotected(idempotency, METHODS, request, call, respond);
            return Serving { response };
        }
        // The clone has not been polled ready; the original has, and goes into the future.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let IdempotencyLayer {
            idempotency,
            options,
            body_limit,
        } = self.layer.clone();
        let call = move |request| {
            // Making the response is the service's work too, and may panic.
            Caught::call(|| inner.call(request).map(respond)).map(|response| {
                let produced_by = match response.as_ref().map(Response::status) {
                    Ok(StatusCode::METHOD_NOT_ALLOWED) => ProducedBy::BeforeHandler,
                    _ => ProducedBy::Service,
                };
                (response, produced_by)
            })
        };
        let handling = Handling {
            call,
            rebuild: None,
        };
        let exchange = Exchange::new(
            idempotency,
            &options,
            METHODS,
            body_limit,
            request,
            handling,
        );
        let response = Responding::protected(exchange);
        Serving { response }
    }
}

fn respond<R: IntoResponse, E: Into<Infallible>>(answer: Result<R, E>) -> Response {
    let Ok(response) = answer.map_err(Into::<Infallible>::into);
    response.into_response()
}

const METHODS: Methods = Methods::NotIdempotent;

pin_project! {
    /// The response of the service.
    pub struct Serving<F: Future> {
        #[pin]
        response: Responding<F>,
    }
}

impl<F: Future> Future for Serving<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().response.poll(context).map(Ok)
    }
}
