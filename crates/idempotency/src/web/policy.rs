//! Which responses are stored.

use axum::response::Response;
use http::{
    StatusCode,
    header::{ACCEPT_ENCODING, RETRY_AFTER},
};

use crate::{Disposition, options::Keep};

/// What produced a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProducedBy {
    /// The user's function.
    Handler,
    /// A service inside of a layer.
    Service,
    /// Something before the function, so that nothing was done: an extractor that refused, or a router that found no
    /// endpoint.
    BeforeHandler,
}

/// Whether a response is sent to every retry.
pub(super) fn is_stored(response: &Response, produced_by: ProducedBy, keep: Keep) -> bool {
    match response.extensions().get::<Disposition>() {
        Some(Disposition::Store | Disposition::Tombstone) => true,
        Some(Disposition::Release) => false,
        None => {
            let headers = response.headers();
            let may_change =
                response.status().is_client_error() && headers.contains_key(RETRY_AFTER);
            // The encoding of the content was refused, not the content.
            let may_change = may_change
                || response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE
                    && headers.contains_key(ACCEPT_ENCODING);
            produced_by != ProducedBy::BeforeHandler
                && !may_change
                && is_final(response.status(), keep)
        }
    }
}

/// Whether a response that is not stored may come from a layer that stopped a run midway, such as tower-http's
/// `TimeoutLayer`. How far that run came is as unknown as if its process had died.
pub(super) fn may_be_cut_off(response: &Response, produced_by: ProducedBy) -> bool {
    let status = response.status();
    produced_by == ProducedBy::Service
        && response.extensions().get::<Disposition>().is_none()
        && !response.headers().contains_key(RETRY_AFTER)
        && matches!(
            status,
            StatusCode::REQUEST_TIMEOUT
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        )
}

/// Whether a handler's response of this status is stored, if nothing else about it says more.
pub(super) fn is_final(status: StatusCode, keep: Keep) -> bool {
    match status.as_u16() {
        _ if keep == Keep::Success => status.is_success(),
        500.. => keep == Keep::All,
        // Interim responses are not final, and the target of a 307 or 308 gets the request under the same key. The other
        // statuses may change on a retry: credentials, limits, preconditions of the exchange, and resources that do not
        // exist yet. If each 404 left a record, a client that guesses names would fill the store.
        100..200
        | 307
        | 308
        | 401
        | 403
        | 404
        | 407
        | 408
        | 413
        | 421
        | 425
        | 426
        | 428
        | 429
        | 431 => false,
        _ => true,
    }
}
