//! The caller, by the bearer token of each request: RFC 6750.
//!
//! This runs before everything that handles keys, also on retries: a revoked token gets no stored response.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use idempotency::Scope;

use crate::{
    app::App,
    booking::Whose,
    error::ApiError,
    keys,
    tokens::{Role, Subject, Tokens, Valid},
};

/// Who sent a request.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Unknown: the service is open.
    Anyone,
    /// The holder of a valid token.
    Known(Valid),
}

/// The role that each method of a route requires.
pub(crate) type Demand = fn(&Method) -> Role;

/// For the routes of bookings.
pub(crate) fn to_use_bookings(method: &Method) -> Role {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Role::Viewer,
        _ => Role::Caller,
    }
}

/// For the routes for orchestrators, and for the description of the service.
pub(crate) fn with_any_role(_: &Method) -> Role {
    Role::Viewer
}

/// For the routes of keys. A caller that is not an operator sees only its subject's keys.
pub(crate) fn to_use_keys(method: &Method) -> Role {
    match *method {
        Method::GET | Method::HEAD => Role::Viewer,
        _ => Role::Operator,
    }
}

/// Admits requests with a valid token whose role is sufficient for the route, and records the caller.
pub(crate) async fn authenticate(
    State((tokens, demand)): State<(Arc<Tokens>, Demand)>,
    mut request: Request,
    next: Next,
) -> Response {
    let valid = match valid(&tokens, request.headers()) {
        Ok(valid) => valid,
        Err(refused) => return refused.into_response(),
    };
    let subject = valid.holder.subject.clone();
    let mut response = if valid.holder.role < demand(request.method()) {
        ApiError::NotAllowed.into_response()
    } else {
        request.extensions_mut().insert(Caller::Known(valid));
        next.run(request).await
    };
    // For the access log.
    response.extensions_mut().insert(subject);
    response
}

fn valid(tokens: &Tokens, headers: &HeaderMap) -> Result<Valid, ApiError> {
    let mut credentials = headers.get_all(header::AUTHORIZATION).iter();
    let sent = credentials.next().ok_or(ApiError::NoToken)?;
    // A proxy that reads only the first or only the last of them would see another caller.
    if credentials.next().is_some() {
        return Err(ApiError::TwoCredentials);
    }
    let token = bearer(sent.as_bytes()).ok_or(ApiError::NoToken)?;
    tokens.find(token).ok_or(ApiError::BadToken)
}

/// The token of this credential, if it has the scheme Bearer, in any case, and a token: RFC 9110 section 11.4.
fn bearer(credential: &[u8]) -> Option<&[u8]> {
    let end = credential.iter().position(|&byte| byte == b' ')?;
    let (scheme, token) = credential.split_at(end);
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then_some(token)
}

impl Caller {
    /// The owner of the bookings that the caller makes.
    pub(crate) fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Anyone => None,
            Self::Known(valid) => Some(&valid.holder.subject),
        }
    }

    /// Whether the token makes the caller an operator. In an open service no caller is one.
    pub(crate) fn is_operator(&self) -> bool {
        matches!(self, Self::Known(valid) if valid.holder.role == Role::Operator)
    }

    /// The scope of the caller's keys, if a token identifies the caller.
    pub(crate) fn key_scope(&self) -> Option<Scope> {
        match self {
            Self::Known(valid) => {
                let subject = valid.holder.subject.as_str();
                Some(keys::scope(subject, self.is_operator()))
            }
            Self::Anyone => None,
        }
    }

    /// The bookings that the caller sees and changes. Others' bookings are treated as absent.
    pub(crate) fn whose(&self) -> Whose {
        match self {
            Self::Anyone => Whose::Everyones,
            Self::Known(_) if self.is_operator() => Whose::Everyones,
            Self::Known(valid) => Whose::Of(valid.holder.subject.as_str().into()),
        }
    }
}

/// The scope of the keys on a route inside [`authenticate`]. It depends on the subject, which keeps its keys when its token is
/// replaced, and on whether it is an operator: see [`keys::scope`].
pub(crate) fn scope(head: &Parts) -> Result<Scope, Box<dyn std::error::Error + Send + Sync>> {
    let caller = head.extensions.get::<Caller>();
    let known = caller.and_then(|caller| Some((caller.subject()?, caller.is_operator())));
    let (subject, is_operator) =
        known.ok_or("the route has keys, and is not behind the authentication")?;
    let subject = subject.as_str();
    Ok(keys::scope(subject, is_operator).labelled(keys::owner_label(subject)))
}

impl FromRequestParts<App> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(head: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let caller = head.extensions.get().cloned();
        if app.tokens.is_none() {
            return Ok(Self::Anyone);
        }
        Ok(caller.expect("the routes of bookings require authentication"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_stands_behind_the_scheme() {
        let cases: [(&[u8], Option<&[u8]>); 12] = [
            (b"Bearer abc", Some(b"abc")),
            (b"bearer abc", Some(b"abc")),
            (b"BEARER  abc ", Some(b"abc")),
            (b"Bearer a b", Some(b"a b")),
            (b"Bearer \xff", Some(b"\xff")),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"Bearerabc", None),
            (b"Bearer\tabc", None),
            (b"Basic abc", None),
            (b"abc", None),
            (b"", None),
        ];
        for (credential, token) in cases {
            assert_eq!(bearer(credential), token, "{credential:?}");
        }
    }
}
