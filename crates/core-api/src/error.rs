//! Every response that is not a success, as RFC 9457 problem details.

use std::{
    any::Any,
    borrow::Cow,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use idempotency::{CommitError, log_text::Causes, store::StoreError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::database::DatabaseError;

/// Why a request was not carried out.
#[derive(Debug)]
pub(crate) enum ApiError {
    UnknownBooking,
    UnknownRoute,
    /// There is no key with this id that the caller may see.
    UnknownKey,
    /// The record of the key cannot be read.
    UnreadableKey(StoreError),
    /// Nothing is stored for the key that a caller asks about.
    NothingByKey,
    /// Without tokens the owner of a key is not known.
    NoOwners,
    /// A change of a key lacks the version that was seen.
    NothingSeen,
    /// The key has changed since it was seen.
    KeyChanged,
    /// The key's phase does not allow this change.
    KeyPhase(Cow<'static, str>),
    MethodNotAllowed,
    /// The request has no bearer token.
    NoToken,
    /// The request has a token that is not valid, or no longer valid.
    BadToken,
    /// The request has several credentials.
    TwoCredentials,
    /// The token is valid, but its role does not allow this.
    NotAllowed,
    /// The body, the query or a header field is malformed; the text says what to send.
    Malformed(Cow<'static, str>),
    WrongMediaType,
    /// The body is compressed, or otherwise encoded.
    Encoded,
    TooLarge,
    /// The body can be read, but these members are not valid.
    Invalid(Vec<FieldError>),
    /// The client injected this status.
    Injected(StatusCode),
    /// A response is already stored for this key, and the client receives that one.
    Answered,
    Database(DatabaseError),
    Store(StoreError),
    /// Too many pages of bookings are waiting to be read.
    Busy,
    Panicked,
}

/// A member of a body that is not valid.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct FieldError {
    pub(crate) field: &'static str,
    /// What the member must be.
    pub(crate) detail: String,
}

/// Why a request was refused (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    #[schema(format = "uri-reference")]
    r#type: &'static str,
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    detail: &'a str,
    /// An identifier for programs, which does not change between versions.
    code: &'static str,
    /// Which members of the body are not valid.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
}

impl ApiError {
    /// Status, code and detail. Nothing in them repeats what the client sent.
    pub(crate) fn describe(&self) -> (StatusCode, &'static str, Cow<'static, str>) {
        match self {
            Self::UnknownBooking => (
                StatusCode::NOT_FOUND,
                "booking_not_found",
                "There is no booking with this id.".into(),
            ),
            Self::UnknownRoute => (
                StatusCode::NOT_FOUND,
                "route_not_found",
                "This path does not exist. Bookings are at /bookings.".into(),
            ),
            Self::UnknownKey => (
                StatusCode::NOT_FOUND,
                "key_not_found",
                "There is no such key: it was never used, was freed, or has expired.".into(),
            ),
            Self::UnreadableKey(_) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "key_unreadable",
                "The record of this key cannot be read: it was changed, or stored with another secret or by another version. To erase its \
                 response, send the whole id, and If-Match: \"unreadable\"."
                    .into(),
            ),
            Self::NothingByKey => (
                StatusCode::NOT_FOUND,
                "key_not_found",
                "Nothing is stored for this key: its request is still under way, was never received, was undone, or has expired. To be sure, \
                 send that request again with the same key."
                    .into(),
            ),
            Self::NoOwners => (
                StatusCode::FORBIDDEN,
                "tokens_needed",
                "A service without --tokens does not know whose a key is. Send the first request again with the same key: it gets the first \
                 response."
                    .into(),
            ),
            Self::NothingSeen => (
                StatusCode::PRECONDITION_REQUIRED,
                "if_match_missing",
                "Send If-Match with the ETag of the key that you have seen.".into(),
            ),
            Self::KeyChanged => (
                StatusCode::PRECONDITION_FAILED,
                "key_changed",
                "The key has changed since you saw it. Nothing was changed: read it again.".into(),
            ),
            Self::KeyPhase(detail) => (StatusCode::CONFLICT, "key_phase", detail.clone()),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path does not support this method; the Allow header lists those it does.".into(),
            ),
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "token_missing",
                "Send a token, with the header Authorization: Bearer. You may reuse the key.".into(),
            ),
            Self::BadToken => (
                StatusCode::UNAUTHORIZED,
                "token_invalid",
                "The token is not valid, or not any more. Send the request with a valid one; you may reuse the key.".into(),
            ),
            Self::TwoCredentials => (
                StatusCode::BAD_REQUEST,
                "credentials_repeated",
                "There may be only one Authorization header.".into(),
            ),
            Self::NotAllowed => (
                StatusCode::FORBIDDEN,
                "role_insufficient",
                "The role of this token does not allow this.".into(),
            ),
            Self::Malformed(detail) => (StatusCode::BAD_REQUEST, "malformed", detail.clone()),
            Self::WrongMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Send the body as JSON, with the header Content-Type: application/json.".into(),
            ),
            Self::Encoded => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_content_coding",
                "Content-Encoding is not supported. Send the body without an encoding; you may reuse the key.".into(),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "content_too_large",
                "The body is longer than this path accepts. Send a shorter one.".into(),
            ),
            Self::Invalid(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid",
                "Nothing was written, because the members listed in errors are not valid. Correct them and send the \
                 request again; you may reuse the key."
                    .into(),
            ),
            Self::Injected(status) => (
                *status,
                "injected",
                "X-Fault-Status asked for this status. Nothing was written.".into(),
            ),
            Self::Answered => (
                StatusCode::CONFLICT,
                "answered",
                "A response to this request is already stored. Send the request again to receive it.".into(),
            ),
            Self::Database(DatabaseError::Commit(CommitError::Misused(_))) | Self::Panicked => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The service failed while processing the request.".into(),
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many responses are waiting for their clients to read them. Retry later.".into(),
            ),
            Self::Database(_) | Self::Store(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "The service cannot reach its database right now. Retry with the same key.".into(),
            ),
        }
    }

    /// What the request's credentials lack: RFC 6750 section 3. A request without a token gets no error code.
    fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::NoToken => Some(r#"Bearer realm="core-api""#),
            Self::BadToken => Some(r#"Bearer realm="core-api", error="invalid_token""#),
            Self::TwoCredentials => Some(r#"Bearer realm="core-api", error="invalid_request""#),
            Self::NotAllowed => Some(r#"Bearer realm="core-api", error="insufficient_scope""#),
            _ => None,
        }
    }

    /// The log's text, which says more than the response.
    fn cause(&self) -> Option<Cause> {
        let error: &(dyn Error + 'static) = match self {
            Self::Database(error) => error,
            Self::Store(error) | Self::UnreadableKey(error) => error,
            _ => return None,
        };
        Some(Cause(Arc::new(Unlogged {
            causes: Causes(error).to_string(),
            reaches_client: AtomicBool::new(false),
        })))
    }
}

/// Why a request was not carried out, as an extension of its response. It is logged when its last clone is dropped.
///
/// A run that fails because another run was faster is not an error: its response is dropped, and its client receives that of
/// the other run. Only the engine knows this, after the handler has ended.
#[derive(Clone)]
pub(crate) struct Cause(Arc<Unlogged>);

struct Unlogged {
    causes: String,
    reaches_client: AtomicBool,
}

impl Cause {
    /// Records that this response is sent.
    pub(crate) fn reaches_client(&self) {
        self.0.reaches_client.store(true, Ordering::Relaxed);
    }
}

impl Drop for Unlogged {
    fn drop(&mut self) {
        let error = &self.causes;
        if self.reaches_client.load(Ordering::Relaxed) {
            tracing::error!(error, "a request could not be carried out");
        } else {
            tracing::warn!(
                error,
                "a run failed; its client has left, or receives the response of another run",
            );
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code, detail) = self.describe();
        let body = serde_json::to_vec(&Problem {
            // With this type the title is the status's reason phrase, RFC 9457 section 4.2.1.
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &detail,
            code,
            errors: match &self {
                Self::Invalid(errors) => errors,
                _ => &[],
            },
        })
        .expect("strings and numbers can be written");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Self::Encoded = self {
            headers.insert(
                header::ACCEPT_ENCODING,
                HeaderValue::from_static("identity"),
            );
        }
        if let Some(challenge) = self.challenge() {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if let Some(cause) = self.cause() {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Commit(CommitError::Superseded) => Self::Answered,
            error => Self::Database(error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The response to a path without a route.
pub(crate) async fn unknown_route() -> ApiError {
    ApiError::UnknownRoute
}

/// The response to a method that the route does not have; axum adds the Allow header field.
pub(crate) async fn method_not_allowed() -> ApiError {
    ApiError::MethodNotAllowed
}

/// The response of a handler that has panicked; the panic has already been logged.
pub(crate) fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    ApiError::Panicked.into_response()
}
