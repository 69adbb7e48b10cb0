//! The value that is stored in place of a response, from which a handler's `replay` function rebuilds it.

use std::{
    any::type_name,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponseParts, Response, ResponseParts},
};
use bytes::Bytes;
use http::{request::Parts, response};
use serde::{Serialize, de::DeserializeOwned};

use super::{problem::Problem, saved_response::tombstone};
use crate::{Disposition, HttpConfig, execution::OutcomeKind, log_text::Causes, outcome};

/// The value that `#[idempotent(replay = …)]` stores in place of the response: a part of the handler's response, and an
/// argument of the function that rebuilds it.
///
/// ```
/// use axum::{Json, extract::State, http::StatusCode};
/// use idempotency::{ReplayWith, idempotent};
/// # #[derive(Clone)]
/// # struct Tokens;
/// # impl Tokens {
/// #     async fn mint(&self) -> (u64, String) { (7, "s3cret".into()) }
/// #     async fn name(&self, id: u64) -> String { format!("token {id}") }
/// # }
///
/// #[idempotent(replay = show_token)]
/// async fn create_token(State(tokens): State<Tokens>) -> (StatusCode, ReplayWith<u64>, Json<String>) {
///     let (id, secret) = tokens.mint().await;
///     // The client gets the secret once. Only the id is stored.
///     (StatusCode::CREATED, ReplayWith(id), Json(secret))
/// }
///
/// /// What a retry gets.
/// async fn show_token(State(tokens): State<Tokens>, ReplayWith(id): ReplayWith<u64>) -> Json<String> {
///     Json(tokens.name(id).await)
/// }
/// ```
///
/// It is stored as JSON, and sealed if the engine has a secret. It is not sent to the client.
///
/// # Errors
///
/// A value that serde cannot write, or that is longer than [`with_max_stored_body`](HttpConfig::with_max_stored_body) or
/// the store allows, is not stored: the response goes out, a retry gets
/// [`response-not-stored`](crate::problems#response-not-stored) and does not run, and the log has an error. The same happens
/// in a handler without `replay`, and in an [`IdempotencyLayer`](crate::IdempotencyLayer): a response with such a value
/// is never stored itself.
///
/// As an extractor it refuses with 503 [`response-unavailable`](crate::problems#response-unavailable) if the stored value
/// is not a `T`, such as one of an earlier version of the service, and with 500 outside of such a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayWith<T>(pub T);

/// The value in the extensions of a response, as JSON; nothing if serde could not write it.
#[derive(Clone, Debug)]
struct Written(Option<Bytes>);

/// The value in the extensions of the request for which the response is rebuilt.
#[derive(Clone, Debug)]
pub(super) struct StoredValue(pub(super) Bytes);

impl<T: Serialize> IntoResponseParts for ReplayWith<T> {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        // Serde's code for the value is the user's too, and the work is already done.
        let written = catch_unwind(AssertUnwindSafe(|| serde_json::to_vec(&self.0)));
        let json = match written {
            Ok(Ok(json)) => Some(json.into()),
            Ok(Err(error)) => {
                tracing::error!(
                    error = %Causes(&error),
                    "the value to replay with cannot be serialized",
                );
                None
            }
            // The panic hook has logged it.
            Err(_) => None,
        };
        response.extensions_mut().insert(Written(json));
        Ok(response)
    }
}

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for ReplayWith<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        let Some(StoredValue(json)) = parts.extensions.get() else {
            let misplaced = "ReplayWith is an argument of the function that #[idempotent(replay = …)] names, and of no other.";
            tracing::error!("{misplaced}");
            return Err(Problem::Misconfigured(misplaced).into_provisional_response());
        };
        serde_json::from_slice(json).map(Self).map_err(|error| {
            // Serde's own text repeats what the value has.
            tracing::error!(
                expected = type_name::<T>(),
                kind = ?error.classify(),
                column = error.column(),
                "the stored value is not of the type that the replay function takes, so the response cannot be rebuilt",
            );
            Problem::ResponseUnavailable.into_provisional_response()
        })
    }
}

/// What a record is to have of a response that an operator gives: its value, if it has one.
pub(super) fn kind_of(response: &Response) -> OutcomeKind {
    match response.extensions().get::<Written>() {
        Some(_) => OutcomeKind::ReplayValue,
        None => OutcomeKind::Response,
    }
}

/// What is stored in place of this response, unless it is stored itself. A record that is to have a value has nothing
/// else of a successful response.
pub(super) fn in_place_of(
    config: &HttpConfig,
    limit: usize,
    kind: OutcomeKind,
    parts: &mut response::Parts,
) -> Option<Bytes> {
    let disposition = parts.extensions.get().copied();
    let written = parts.extensions.remove::<Written>();
    if disposition == Some(Disposition::Tombstone) {
        return Some(tombstone(config, &parts.headers));
    }
    let mistake = match (kind, written) {
        (OutcomeKind::ReplayValue, Some(Written(Some(json)))) => {
            let outcome = outcome::replay_value(&json);
            if json.len() <= config.max_stored_body_in(limit) && outcome.len() <= limit {
                return Some(outcome);
            }
            "the value to replay with is too long"
        }
        (OutcomeKind::ReplayValue, Some(Written(None))) => "it cannot be serialized",
        (OutcomeKind::ReplayValue, None) => {
            let is_failure = parts.status.is_client_error() || parts.status.is_server_error();
            if is_failure || disposition == Some(Disposition::Store) {
                return None;
            }
            "it has no ReplayWith, from which its replay function could rebuild it"
        }
        (_, Some(_)) => "it has a ReplayWith, and its handler has no replay function",
        (_, None) => return None,
    };
    tracing::error!(
        mistake,
        "a response is not stored, and retries get a 409 in its place"
    );
    // Its Location may be what must not be stored.
    Some(outcome::tombstone(0).into())
}
