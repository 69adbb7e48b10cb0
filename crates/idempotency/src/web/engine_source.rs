//! Where an attributed handler finds its engine.

use axum::{
    Extension,
    extract::{FromRef, Request},
};

use crate::Idempotency;

/// In the request's extensions, where a layer around the routes has put it.
#[derive(Clone, Copy, Debug)]
pub struct InExtensions;

/// In the state of the router, or in a part of it.
#[derive(Clone, Copy, Debug)]
pub struct InState;

/// Where handlers of a router with this state find their engine. A type for each place, so that only those whose engine is in
/// the state ask something of it.
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

/// Were the engine a part of its own self alone, the compiler would take that for the state of every router whose state has no
/// engine, and say so at the route. Now it says that the engine is not in the state.
impl FromRef<NoState> for Idempotency {
    fn from_ref(state: &NoState) -> Self {
        match *state {}
    }
}

impl Idempotency {
    /// The layer by which `#[idempotent]` handlers find this engine: `axum::Extension` of it.
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
    /// It protects nothing by itself: a handler without the attribute is as it was. An
    /// [`IdempotencyLayer`](crate::IdempotencyLayer) protects every route inside.
    pub fn extension(&self) -> Extension<Self> {
        Extension(self.clone())
    }
}
