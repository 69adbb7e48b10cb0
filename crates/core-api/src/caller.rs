//! Who calls, by the bearer token of each request: RFC 6750.
//!
//! This runs in front of everything that knows keys, on retries too: a token that was taken away gets no stored response.

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
    /// Not asked: the service is open.
    Anyone,
    /// The holder of a valid token.
    Known(Valid),
}

/// What a route demands of the callers of each method.
pub(crate) type Demand = fn(&Method) -> Role;

/// Of the routes of bookings.
pub(crate) fn to_use_bookings(method: &Method) -> Role {
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Role::Viewer,
        _ => Role::Caller,
    }
}

/// Of the routes for orchestrators.
pub(crate) fn to_probe(_: &Method) -> Role {
    Role::Viewer
}

/// Of the routes of keys. Whoever is no operator sees those of its subject only.
pub(crate) fn to_use_keys(method: &Method) -> Role {
    match *method {
        Method::GET | Method::HEAD => Role::Viewer,
        _ => Role::Operator,
    }
}

/// Lets requests in whose token is valid and has the role that the route demands, and notes whose it is.
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
    // Whoever reads only the first, or only the last of them, would see another caller.
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
    /// The owner of what the caller makes.
    pub(crate) fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Anyone => None,
            Self::Known(valid) => Some(&valid.holder.subject),
        }
    }

    /// Whether a token says that the caller is an operator. Where nobody is asked, nobody is one.
    pub(crate) fn is_operator(&self) -> bool {
        matches!(self, Self::Known(valid) if valid.holder.role == Role::Operator)
    }

    /// Whose keys the caller's requests have, if a token says who the caller is.
    pub(crate) fn key_scope(&self) -> Option<Scope> {
        match self {
            Self::Known(valid) => {
                let subject = valid.holder.subject.as_str();
                Some(keys::scope(subject, self.is_operator()))
            }
            Self::Anyone => None,
        }
    }

    /// Whose bookings the caller sees and changes. Those of others are as if they were not there.
    pub(crate) fn whose(&self) -> Whose {
        match self {
            Self::Anyone => Whose::Everyones,
            Self::Known(_) if self.is_operator() => Whose::Everyones,
            Self::Known(valid) => Whose::Of(valid.holder.subject.as_str().into()),
        }
    }
}

/// Whose keys they are, on a route behind [`authenticate`]. By the subject, which keeps its keys when its token is replaced, and by
/// whether it is an operator: see [`keys::scope`].
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
        Ok(match app.tokens.is_some() {
            false => Self::Anyone,
            true => caller.expect("the routes of bookings are behind the authentication"),
        })
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
