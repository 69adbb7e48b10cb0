//! The text of each problem.

use std::time::Duration;

use http::StatusCode;

use super::Problem;
use crate::{
    HttpConfig, IdempotencyKey,
    http_rejection::HttpRejection,
    key::{BARE_PUNCTUATION, KeyError, KeySyntax},
    store::StoreErrorKind,
};

impl Problem {
    /// Its type, and its text.
    pub(in crate::web) fn describe(&self, config: &HttpConfig) -> HttpRejection {
        let key = &config.key;
        match self {
            Self::KeyMissing => HttpRejection::new(
                StatusCode::BAD_REQUEST,
                "key-missing",
                "idempotency_key_missing",
                "Idempotency-Key is missing",
                &format!(
                    "Send the header field {key} with a unique value, such as a UUID, and repeat \
                     the value when you retry."
                ),
            ),
            Self::KeyMalformed(error) => HttpRejection::new(
                StatusCode::BAD_REQUEST,
                "key-malformed",
                match error {
                    KeyError::TooLong => "idempotency_key_too_long",
                    _ => "idempotency_key_malformed",
                },
                "Idempotency-Key is malformed",
                &format!(
                    "The header field {key} is not valid: {error}. A key is 1 to {} printable \
                     ASCII characters in double quotes{}.",
                    IdempotencyKey::MAX_LENGTH,
                    match config.key_syntax {
                        KeySyntax::Quoted => String::new(),
                        KeySyntax::QuotedOrBare => bare(),
                    },
                ),
            ),
            Self::OwnKeyMissing(places) => HttpRejection::new(
                StatusCode::BAD_REQUEST,
                "key-missing",
                "idempotency_key_missing",
                "Idempotency-Key is missing",
                &format!(
                    "This endpoint takes its key from {places}. Send it, and repeat its value \
                     when you retry; {key} is not read here."
                ),
            ),
            Self::OwnKeyMalformed(places, rejection) => HttpRejection::new(
                StatusCode::BAD_REQUEST,
                "key-malformed",
                if rejection.is_too_long() {
                    "idempotency_key_too_long"
                } else {
                    "idempotency_key_malformed"
                },
                "Idempotency-Key is malformed",
                &format!(
                    "This endpoint takes its key from {places}. The key is not valid: \
                     {rejection}."
                ),
            ),
            Self::AnonymousKeyTooShort { min } => HttpRejection::new(
                StatusCode::BAD_REQUEST,
                "key-malformed",
                "idempotency_key_too_short",
                "Idempotency-Key is malformed",
                &format!(
                    "Without credentials, a key needs at least {min} characters, because all \
                     callers without credentials share their keys. This attempt had no effect. If \
                     an earlier attempt with this key may have run, find out before you send \
                     another key; otherwise send a random value, such as a UUID."
                ),
            ),
            Self::EarlyData => HttpRejection::new(
                StatusCode::TOO_EARLY,
                "early-data",
                "idempotency_early_data",
                "Early data has no Idempotency-Key",
                "The request arrived before the TLS handshake was complete, so an attacker may \
                 have sent a copy of it. This attempt had no effect. Send it again after the \
                 handshake, or with a key.",
            )
            .with_retry_after(1),
            Self::CredentialsRepeated => HttpRejection::new(
                StatusCode::BAD_REQUEST,
                "credentials-repeated",
                "credentials_repeated",
                "Credentials were sent twice",
                "A header field with credentials, such as Authorization, occurs more than once. \
                 Send it once. This attempt had no effect.",
            ),
            Self::ContentTooLarge => HttpRejection::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "content-too-large",
                "content_too_large",
                "Content is too large",
                "The body is larger than this endpoint accepts. This attempt had no effect.",
            ),
            Self::ContentIncomplete => HttpRejection::new(
                StatusCode::BAD_REQUEST,
                "content-incomplete",
                "content_incomplete",
                "Content is incomplete",
                "The body ended before it was complete. This attempt had no effect. Send the \
                 request again.",
            ),
            Self::KeyReused => HttpRejection::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key-reused",
                "idempotency_key_reused",
                "Idempotency-Key is already used",
                &format!(
                    "This key was used for a different request. A retry has the same method, \
                     path, query, media type and body, and the same cookies where nothing else \
                     identifies the caller. Use a new key for a new or corrected request.{}",
                    config.key_lookup.as_ref().map_or_else(String::new, |url| {
                        format!(
                            " Send GET {url} with this key to see the response to the first \
                             request."
                        )
                    }),
                ),
            ),
            Self::KeyIncomparable => HttpRejection::new(
                StatusCode::CONFLICT,
                "key-incomparable",
                "idempotency_key_incomparable",
                "Idempotency-Key cannot be compared",
                "Another version of the service recorded this key, and this version cannot tell \
                 whether it was for the same request. Retry later.",
            )
            .with_retry_after(5),
            Self::InProgress => HttpRejection::new(
                StatusCode::CONFLICT,
                "in-progress",
                "idempotency_in_progress",
                "A request is outstanding for this Idempotency-Key",
                "The same request is still running. Retry with the same key to get its response.",
            )
            .with_retry_after(1),
            Self::OutcomeUnknown => HttpRejection::new(
                StatusCode::CONFLICT,
                "outcome-unknown",
                "idempotency_outcome_unknown",
                "The outcome of the request is not known",
                "An earlier attempt at this request was interrupted, and it is not known whether \
                 it took effect. It will not be retried until an operator has resolved it. \
                 Contact the operator; do not resend it with a different key.",
            ),
            Self::ResponseNotStored { .. } => HttpRejection::new(
                StatusCode::CONFLICT,
                "response-not-stored",
                "idempotency_response_not_stored",
                "The response was not stored",
                "The request took effect and will not run again, but its response was not stored.",
            ),
            Self::ResponseErased => HttpRejection::new(
                StatusCode::GONE,
                "response-erased",
                "idempotency_response_erased",
                "The response was erased",
                "The request has run and will not run again. The operator of the service has \
                 erased its response.",
            ),
            Self::StoreUnavailable(error) => {
                let full = error.kind() == StoreErrorKind::Full;
                HttpRejection::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store-unavailable",
                    if full {
                        "idempotency_store_full"
                    } else {
                        "idempotency_store_unavailable"
                    },
                    "Keys cannot be checked right now",
                    "This attempt had no effect, because the service could not ensure that the \
                     request runs only once. Retry with the same key.",
                )
                .with_retry_after(if full { 30 } else { 1 })
            }
            Self::TooManyKeys | Self::TooManyLiveKeys { .. } => HttpRejection::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-keys",
                "idempotency_too_many_keys",
                "Too many keys are stored",
                "This attempt had no effect, because this caller has reached its limit of stored \
                 keys. Retry later with the same key, and send fewer requests with new keys.",
            )
            .with_retry_after(match self {
                Self::TooManyLiveKeys { retry_after } => seconds(*retry_after),
                _ => 30,
            }),
            Self::TooManyNewKeys { retry_after } => HttpRejection::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-keys",
                "idempotency_too_many_new_keys",
                "Too many new keys",
                "This attempt had no effect, because this caller sends new keys faster than the \
                 service accepts them. Retry later with the same key.",
            )
            .with_retry_after(seconds(*retry_after)),
            Self::Busy => HttpRejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "idempotency_busy",
                "Too many requests are running",
                "This attempt had no effect, because the service runs as many requests as it \
                 can. Retry with the same key.",
            )
            .with_retry_after(1),
            Self::ShuttingDown => HttpRejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "shutting-down",
                "idempotency_shutting_down",
                "The service is shutting down",
                "This attempt had no effect. Retry with the same key.",
            )
            .with_retry_after(1),
            Self::CommitFailed => HttpRejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "commit-failed",
                "commit_failed",
                "The request did not take effect",
                "The service could not commit the changes of this attempt. Retry, with the same \
                 key if there was one.",
            )
            .with_retry_after(1),
            Self::CommitUnknown { is_shared } => HttpRejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "commit-unknown",
                "idempotency_commit_unknown",
                "It is not known whether the request took effect",
                if *is_shared {
                    "The connection to the database was lost during the commit. Retry with the \
                     same key; the request takes effect exactly once."
                } else {
                    "The connection to the database was lost during the commit. The request may \
                     have taken effect, and a retry may run it again."
                },
            )
            .with_retry_after(1),
            Self::ResponseUnavailable => HttpRejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "response-unavailable",
                "idempotency_response_unavailable",
                "The response cannot be read right now",
                "The request has run, but its response cannot be read right now. Retry with the \
                 same key to get it.",
            )
            .with_retry_after(1),
            Self::StepNotStored => HttpRejection::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "step-not-stored",
                "idempotency_step_not_stored",
                "The request was interrupted",
                "The service could not read or store the progress of the request, which may have \
                 taken effect in part. Retry with the same key.",
            )
            .with_retry_after(1),
            Self::HandlerPanicked => HttpRejection::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "handler-failed",
                "handler_failed",
                "The request failed unexpectedly",
                "The service failed while processing the request.",
            ),
            Self::ResponseBroken => HttpRejection::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "response-broken",
                "response_broken",
                "The response could not be completed",
                "The service failed while writing its response.",
            ),
            Self::Misconfigured(what) => HttpRejection::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "misconfigured",
                "idempotency_misconfigured",
                "The service is misconfigured",
                what,
            ),
        }
    }
}

/// The whole seconds that a client has to wait for this, and at least one.
fn seconds(time: Duration) -> u32 {
    let seconds = time.as_millis().div_ceil(1000).max(1);
    seconds.try_into().unwrap_or(u32::MAX)
}

/// What the text of a malformed key adds where quotes are optional.
fn bare() -> String {
    format!(
        ", or without them if it has only letters, digits and {BARE_PUNCTUATION} and does not \
         begin with : or @"
    )
}
