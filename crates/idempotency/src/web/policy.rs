//! Which answers are stored.

use axum::response::Response;
use http::{
    StatusCode,
    header::{ACCEPT_ENCODING, RETRY_AFTER},
};

use crate::{Disposition, Keep};

/// Who gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProducedBy {
    /// The user's function.
    Handler,
    /// A service inside of a layer, of which nothing more is known.
    Service,
    /// Something before the function, so that nothing has happened: an extractor that refused, or a router
    /// that found no endpoint.
    BeforeHandler,
}

/// Whether an answer is the one to every retry.
pub(super) fn is_stored(response: &Response, produced_by: ProducedBy, keep: Keep) -> bool {
    match response.extensions().get::<Disposition>() {
        Some(Disposition::Store | Disposition::Tombstone) => true,
        Some(Disposition::Release) => false,
        None => {
            let headers = response.headers();
            let may_change =
                response.status().is_client_error() && headers.contains_key(RETRY_AFTER);
            // The coding of the content is what was refused, not the content.
            let may_change = may_change
                || response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE
                    && headers.contains_key(ACCEPT_ENCODING);
            produced_by != ProducedBy::BeforeHandler
                && !may_change
                && is_final(response.status(), keep)
        }
    }
}

/// Whether a response that is not stored may be that of a layer which has stopped a run midway, such as tower-http's
/// `TimeoutLayer`: how far the run came is then as unknown as if its process had died.
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

fn is_final(status: StatusCode, keep: Keep) -> bool {
    match status.as_u16() {
        500.. => keep == Keep::All,
        // An interim response is none, and behind a 307 or 308 is who carries the request out, under the same key. After
        // the others it can go better at another try: credentials, limits, preconditions of the exchange, and what is not
        // there yet. With a record for each 404, whoever guesses names fills the store.
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
