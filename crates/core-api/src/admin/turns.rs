//! Limits how many keys and lists are read and sent concurrently: each list reads some tens of megabytes.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tokio::sync::Semaphore;

use crate::{caller::Caller, reads};

/// Operators have turns of their own, so that other callers cannot delay them.
#[derive(Clone)]
pub(crate) struct Turns {
    operators: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

const MAX_READS: usize = 4;

impl Default for Turns {
    fn default() -> Self {
        let turns = || Arc::new(Semaphore::new(MAX_READS));
        Self {
            operators: turns(),
            others: turns(),
        }
    }
}

/// Makes a request wait for its turn.
pub(crate) async fn limit(State(turns): State<Turns>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>();
    let turns = if caller.is_some_and(Caller::is_operator) {
        turns.operators
    } else {
        turns.others
    };
    reads::limit(State(turns), request, next).await
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::StatusCode, middleware, routing::get};
    use tower::Service;

    use super::*;
    use crate::tokens::{Digest, Holder, Role, Valid};

    fn request(role: Role) -> Request {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Caller::Known(Valid {
            holder: Holder {
                subject: "ann".parse().unwrap(),
                role,
            },
            digest: Digest::of(b""),
        }));
        request
    }

    // proves: key-state-shown
    #[tokio::test(start_paused = true)]
    async fn callers_who_do_not_read_their_lists_do_not_keep_operators_from_theirs() {
        let layer = middleware::from_fn_with_state(Turns::default(), limit);
        let mut routes = Router::new()
            .route("/", get(async || "a list"))
            .route_layer(layer);
        let mut unread = Vec::new();
        for _ in 0..MAX_READS {
            unread.push(routes.call(request(Role::Viewer)).await.unwrap());
        }
        for (role, status) in [
            (Role::Caller, StatusCode::SERVICE_UNAVAILABLE),
            (Role::Operator, StatusCode::OK),
        ] {
            let response = routes.call(request(role)).await.unwrap();
            assert_eq!(response.status(), status, "{role}");
        }
    }
}
