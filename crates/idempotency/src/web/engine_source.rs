//! Where an attributed handler finds its engine.

use axum::{
    Extension,
    extract::{FromRef, Request},
};

use crate::Idempotency;

/// In the request's extensions, set by a layer around the routes.
#[derive(Clone, Copy, Debug)]
pub struct InExtensions;

/// In the state of the router, or in a part of it.
#[derive(Clone, Copy, Debug)]
pub struct InState;

/// Where handlers of a router with this state find their engine. Each place is a type of its own, so that only handlers
/// whose engine is in the state put a bound on the state.
pub trait EngineSource<S>: Copy + Send + Sync + 'static {
    /// The engine, if the router has one.
    fn engine(request: &Request, state: &S) -> Option<Idempotency>;
}

impl<S> EngineSource<S> for InExtensions {
    fn engine(request: &Request, _state: &S) -> Option<Idempotency> {
        request.extensions().get().cloned()
    }
}

impl<S> EngineSource<S> for InState
where
    Idempotency: FromRef<S>,
{
    fn engine(_request: &Request, state: &S) -> Option<Idempotency> {
        Some(Idempotency::from_ref(state))
    }
}

/// The state of no router.
#[derive(Clone, Copy, Debug)]
pub enum NoState {}

/// If the engine were a part of itself only, the compiler would infer the engine as the state of every router whose state
/// has none, and report that at the route. With this type it reports that the engine is not in the state.
impl FromRef<NoState> for Idempotency {
    fn from_ref(state: &NoState) -> Self {
        match *state {}
    }
}

impl Idempotency {
    /// Makes the layer by which `#[idempotent]` handlers find this engine: an `axum::Extension` of it.
    ///
    /// ```
    /// use axum::{Router, routing::post};
    /// use idempotency::{Idempotency, MemoryStore, idempotent};
    ///
    /// #[idempotent]
    /// async fn create_booking() -> &'static str {
    ///     "booked"
    /// }
    ///
    /// let idempotency = Idempotency::new(MemoryStore::new());
    /// let app: Router = Router::new()
    ///     .route("/bookings", post(create_booking))
    ///     .layer(idempotency.extension());
    /// ```
    ///
    /// The layer protects nothing by itself: a handler without the attribute is unchanged. An
    /// [`IdempotencyLayer`](crate::IdempotencyLayer) protects every route inside.
    pub fn extension(&self) -> Extension<Self> {
        Extension(self.clone())
    }
}
