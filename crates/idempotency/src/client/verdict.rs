//! What a response means for its intent.

use http::{
    StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;

use super::response::Response;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The operation has this response, and a retry would get no better one.
    Final,
    /// The same request is running.
    InProgress,
    /// The same request may get another response later.
    Retry,
    KeyReused,
    OutcomeUnknown,
    /// The operation took effect, and its response cannot be had again.
    ResponseGone,
}

impl Verdict {
    pub(super) fn of(response: &Response) -> Self {
        let status = response.status();
        if !response.is_refusal() {
            return Self::Final;
        }
        let is_marked = response.problem().is_some();
        // The field says what it is whatever status the application has chosen.
        let has = |expected: StatusCode| is_marked || status == expected;
        match code(response).as_deref() {
            Some("idempotency_in_progress") if has(StatusCode::CONFLICT) => Self::InProgress,
            Some("idempotency_outcome_unknown") if has(StatusCode::CONFLICT) => {
                Self::OutcomeUnknown
            }
            Some("idempotency_response_not_stored") if has(StatusCode::CONFLICT) => {
                Self::ResponseGone
            }
            Some("idempotency_response_erased") if has(StatusCode::GONE) => Self::ResponseGone,
            Some("idempotency_key_reused") if has(StatusCode::UNPROCESSABLE_ENTITY) => {
                Self::KeyReused
            }
            // The service is set up wrongly, which no retry changes.
            Some("idempotency_misconfigured") if has(StatusCode::INTERNAL_SERVER_ERROR) => {
                Self::Final
            }
            // The connection broke while the request was sent.
            Some("content_incomplete") if has(StatusCode::BAD_REQUEST) => Self::Retry,
            Some("handler_failed" | "response_broken") if is_marked => Self::Retry,
            _ if status.is_redirection() && !is_marked => Self::Final,
            _ if response.headers().contains_key(RETRY_AFTER) => Self::Retry,
            _ => Self::of_status(status),
        }
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Self::Final,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Self::Retry
            }
            status if status.is_server_error() => Self::Retry,
            _ => Self::Final,
        }
    }
}

/// The code of a problem, from its field or its body. Neither a status nor a text says as exactly what has happened.
fn code(response: &Response) -> Option<String> {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
    }
    if let Some(code) = response.problem() {
        return Some(code.to_owned());
    }
    let media_type = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = media_type.split(';').next()?.trim();
    let is_problem = essence.eq_ignore_ascii_case("application/problem+json");
    let problem = is_problem.then(|| response.json::<Problem>());
    Some(problem?.ok()?.code)
}
