//! Which redirects an attempt follows.

use reqwest::{
    StatusCode, Url,
    redirect::{Action, Attempt, Policy},
};

const MAX_REDIRECTS: usize = 10;

/// Follows 307 and 308 within an origin: there the same request, with its key, is sent to another path.
///
/// Any other redirect is the response. After 303 the operation is done. reqwest would send the key and the body to another
/// origin, because it removes only the fields that it knows as credentials.
pub(super) fn policy() -> Policy {
    Policy::custom(follow)
}

fn follow(attempt: Attempt<'_>) -> Action {
    let is_same_request = matches!(
        attempt.status(),
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
    );
    let from = attempt.previous().last().map(Url::origin);
    let is_same_origin = from == Some(attempt.url().origin());
    if is_same_request && is_same_origin && attempt.previous().len() <= MAX_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}
