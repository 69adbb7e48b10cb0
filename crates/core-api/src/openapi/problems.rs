//! The problems that the service itself responds with, for each operation.

use std::collections::BTreeMap;

use idempotency::store::StoreError;
use serde_json::{Map, Value, json};

use crate::error::ApiError;

/// Adds the problems that this operation can respond with.
pub(super) fn add(path: &str, operation: &mut Value, needs_token: bool) {
    let mut by_status = BTreeMap::<u16, (Vec<String>, Map<_, _>)>::new();
    for problem in problems(path, operation, needs_token) {
        let (status, code, detail) = problem.describe();
        let (lines, examples) = by_status.entry(status.as_u16()).or_default();
        lines.push(format!("- `{code}`: {detail}"));
        let example = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
        });
        examples.insert(code.to_owned(), json!({ "value": example }));
    }
    for (status, (lines, examples)) in by_status {
        let headers = match status {
            401 | 403 => {
                json!({ "WWW-Authenticate": { "description": "What the token lacks (RFC 6750).", "schema": { "type": "string" } } })
            }
            503 => {
                json!({ "Retry-After": { "description": "After how many seconds to send the same request again.", "schema": { "type": "integer", "minimum": 0 } } })
            }
            _ => json!({}),
        };
        operation["responses"][status.to_string()] = json!({
            "description": lines.join("\n"),
            "headers": headers,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" }, "examples": examples } },
        });
    }
}

fn problems(path: &str, operation: &Value, needs_token: bool) -> Vec<ApiError> {
    let id = operation["operationId"].as_str().unwrap_or_default();
    let unavailable = || ApiError::Store(StoreError::unavailable(""));
    let mut problems = Vec::new();
    if needs_token {
        problems.extend([
            ApiError::TwoCredentials,
            ApiError::NoToken,
            ApiError::BadToken,
            ApiError::NotAllowed,
        ]);
    }
    if path == "/readyz" {
        problems.push(unavailable());
    }
    if path == "/page/keys" {
        problems.extend([unavailable(), ApiError::Busy]);
    }
    if matches!(path, "/page/{file}" | "/docs/{file}") {
        problems.push(ApiError::UnknownRoute);
    }
    if !path.starts_with("/bookings") || id.starts_with("options") {
        return problems;
    }
    problems.extend([ApiError::Panicked, unavailable()]);
    if path.contains("{id}") {
        problems.push(ApiError::UnknownBooking);
    }
    if id == "show_by_key" {
        problems.extend([
            ApiError::Malformed("The key cannot be used.".into()),
            ApiError::NothingByKey,
            ApiError::NoOwners,
            ApiError::KeyPhase(
                "The key's run has not ended, or its response was not stored, or was erased."
                    .into(),
            ),
        ]);
    }
    if id == "list_bookings" {
        problems.extend([
            ApiError::Malformed("The query cannot be read.".into()),
            ApiError::Busy,
        ]);
    }
    if operation["requestBody"].is_object() {
        problems.extend([
            ApiError::Malformed("The body cannot be read.".into()),
            ApiError::WrongMediaType,
            ApiError::Encoded,
            ApiError::TooLarge,
            ApiError::Invalid(Vec::new()),
        ]);
    }
    if operation["requestBody"].is_object() || path.contains("{id}") && id != "show_booking" {
        problems.push(ApiError::Answered);
    }
    problems
}
