//! A JSON body that is validated before the handler begins.
//!
//! A refusal here is not a response of the handler, so it is not stored: the client corrects the body and may
//! reuse the key.

use axum::{
    RequestExt,
    body::{Bytes, HttpBody},
    extract::{FromRequest, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde_json::{Map, Value};

use crate::error::{ApiError, FieldError};

/// A body whose members are all valid.
#[derive(Debug)]
pub(crate) struct Valid<T>(pub(crate) T);

/// Parses a string, or says what the string must be. No rule accepts the empty string.
pub(crate) type Rule<T> = fn(&str) -> Result<T, &'static str>;

/// A type that can be read from the members of a JSON object.
pub(crate) trait FromFields: Sized {
    /// Reads the members; `None` if one of them is not valid and is on the list.
    fn from_fields(fields: &mut Fields) -> Option<Self>;
}

/// The members of a JSON object, and the list of those that are not valid.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// A required member.
    pub(crate) fn required<T>(&mut self, field: &'static str, rule: Rule<T>) -> Option<T> {
        if !self.members.contains_key(field) {
            self.refuse(field, format!("is missing; it {}", demand(rule)));
        }
        self.optional(field, rule)
    }

    /// An optional member.
    pub(crate) fn optional<T>(&mut self, field: &'static str, rule: Rule<T>) -> Option<T> {
        let checked = match self.members.get(field)? {
            Value::String(text) => rule(text).map_err(Into::into),
            _ => Err(format!("must be a string, which {}", demand(rule))),
        };
        checked.map_err(|detail| self.refuse(field, detail)).ok()
    }

    /// Adds a member to the list.
    pub(crate) fn refuse(&mut self, field: &'static str, detail: impl Into<String>) {
        self.errors.push(FieldError {
            field,
            detail: detail.into(),
        });
    }

    /// Whether any of these members is present.
    pub(crate) fn has_any(&self, fields: &[&str]) -> bool {
        fields.iter().any(|field| self.members.contains_key(*field))
    }
}

impl<T: FromFields> Valid<T> {
    /// Reads and checks a body.
    pub(crate) fn from_slice(body: &[u8]) -> Result<Self, ApiError> {
        let members = match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => members,
            Ok(_) => {
                return Err(ApiError::Malformed(
                    "The body must be a JSON object.".into(),
                ));
            }
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let detail = format!("The body is not JSON: see line {line}, column {column}.");
                return Err(ApiError::Malformed(detail.into()));
            }
        };
        let mut fields = Fields {
            members,
            errors: Vec::new(),
        };
        match T::from_fields(&mut fields) {
            Some(value) if fields.errors.is_empty() => Ok(Self(value)),
            _ => Err(ApiError::Invalid(fields.errors)),
        }
    }
}

impl<T, S> FromRequest<S> for Valid<T>
where
    T: FromFields,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if is_encoded(request.headers()) {
            return Err(ApiError::Encoded);
        }
        if !is_json(request.headers()) {
            return Err(ApiError::WrongMediaType);
        }
        let announced = request.body().size_hint().lower();
        let request = request.with_limited_body();
        let most = request.body().size_hint().upper();
        // A client that waits for 100 (Continue) does not have to send a body that is announced as too large.
        if most.is_some_and(|most| announced > most) {
            return Err(ApiError::TooLarge);
        }
        let body = Bytes::from_request(request, state).await?;
        Self::from_slice(&body)
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.into_response().status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            _ => Self::Malformed("The body ended before it was complete.".into()),
        }
    }
}

/// What a rule requires of a string.
fn demand<T>(rule: Rule<T>) -> &'static str {
    rule("").err().unwrap_or_default()
}

/// Whether the content has to be decoded before it can be read: RFC 9110 section 8.4.
fn is_encoded(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().ends_with("+json")
}
