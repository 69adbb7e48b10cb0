//! Identifies the caller by an extractor that runs on every request, including replays.

use std::{fmt, marker::PhantomData, sync::Arc};

use axum::{
    extract::{FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use http::request::Parts;
use parking_lot::Mutex;

use super::{problem::Problem, read_on::read_on};
use crate::{HttpConfig, Scope};

/// An extractor that proves who the caller is, for `#[idempotent(principal = …)]`. The caller owns the key.
///
/// ```
/// use axum::{
///     extract::FromRequestParts,
///     http::{StatusCode, header::AUTHORIZATION, request::Parts},
/// };
/// use idempotency::{Principal, Scope, idempotent};
///
/// struct Claims {
///     subject: String,
/// }
///
/// impl<S: Sync> FromRequestParts<S> for Claims {
///     type Rejection = StatusCode;
///
///     async fn from_request_parts(head: &mut Parts, _state: &S) -> Result<Self, StatusCode> {
///         let token = head.headers.get(AUTHORIZATION).ok_or(StatusCode::UNAUTHORIZED)?;
///         verify(token.as_bytes()).ok_or(StatusCode::UNAUTHORIZED)
///     }
/// }
///
/// impl Principal for Claims {
///     fn scope(&self) -> Scope {
///         Scope::principal(&self.subject)
///     }
/// }
///
/// #[idempotent(principal = Claims)]
/// async fn transfer(claims: Claims, amount: String) -> String {
///     format!("{} sends {amount}", claims.subject)
/// }
/// # fn verify(token: &[u8]) -> Option<Claims> {
/// #     token.is_ascii().then(|| Claims { subject: "ann".into() })
/// # }
/// ```
///
/// Make the scope of what stays the same when the caller gets a new token: the subject, with several issuers together
/// with the issuer, and never the token itself. [`Scope::principal`] with an empty subject is refused with 500.
///
/// # Caveats
///
/// The extractor sees only the head of the request. A middleware outside can verify a signature of the body, and put the
/// [`Scope`] into the request's extensions. For an extractor of another crate, write a type of your own around it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say who owns the key",
    label = "`{Self}` is not a `Principal`",
    note = "write `impl idempotency::Principal for {Self}`, whose `scope` makes a `Scope` of the verified subject"
)]
pub trait Principal: Send + 'static {
    /// The scope of the caller, who owns the key.
    fn scope(&self) -> Scope;
}

/// The attribute names no extractor for the caller.
#[derive(Clone, Copy, Debug)]
pub struct Unproved;

/// This extractor proves the caller.
pub struct ProvedBy<P, C> {
    scope: fn(&P) -> Scope,
    /// Wraps the handler, with [`Proved`] where the function takes the extractor's value.
    pub(super) handler: C,
    extractor: PhantomData<fn() -> P>,
}

/// The result of calling the function itself where it has a principal, as unit tests do. It can be awaited but is not a
/// [`Future`], because a function that returns a future would be a handler that proves no caller.
#[must_use = "it does nothing until it is awaited"]
pub struct Direct<T>(BoxFuture<'static, T>);

/// The value of an extractor that ran before the handler's others.
#[derive(Debug)]
pub struct Proved<P>(pub P);

/// The scope from the attribute's extractor, kept apart from the [`Scope`] that a layer may have set.
#[derive(Clone, Debug)]
pub(super) struct ProvedScope(pub(super) Scope);

/// The extractor's value on its way to the handler. It need not be `Clone`, as an extension would.
struct Handed<P>(Arc<Mutex<Option<P>>>);

impl<P, C> ProvedBy<P, C> {
    pub(super) const fn new(handler: C) -> Self
    where
        P: Principal,
    {
        Self {
            scope: P::scope,
            handler,
            extractor: PhantomData,
        }
    }

    /// The request with its caller, or the extractor's own rejection.
    pub(super) async fn prove<S>(&self, request: Request, state: &S) -> Result<Request, Response>
    where
        P: FromRequestParts<S> + Send + 'static,
        S: Send + Sync,
    {
        let (mut parts, body) = request.into_parts();
        let principal = match P::from_request_parts(&mut parts, state).await {
            Ok(principal) => principal,
            Err(rejection) => {
                read_on(Request::from_parts(parts, body));
                return Err(rejection.into_response());
            }
        };
        // It takes precedence over a layer outside, which may not know of it.
        let scope = (self.scope)(&principal);
        parts.extensions.insert(ProvedScope(scope.clone()));
        parts.extensions.insert(scope);
        let handed = Handed(Arc::new(Mutex::new(Some(principal))));
        parts.extensions.insert(handed);
        Ok(Request::from_parts(parts, body))
    }
}

impl<P: Send + 'static> Proved<P> {
    /// The extractor's value, if nothing has taken it yet.
    pub(super) fn take(parts: &mut Parts) -> Option<P> {
        let Handed(principal) = parts.extensions.remove::<Handed<P>>()?;
        principal.lock().take()
    }
}

impl<T> Direct<T> {
    /// Calls the function whose body this is.
    pub const fn new(body: BoxFuture<'static, T>) -> Self {
        Self(body)
    }
}

impl<T> IntoFuture for Direct<T> {
    type Output = T;
    type IntoFuture = BoxFuture<'static, T>;

    fn into_future(self) -> Self::IntoFuture {
        self.0
    }
}

impl<T> fmt::Debug for Direct<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Direct(…)")
    }
}

impl<P, S> FromRequestParts<S> for Proved<P>
where
    P: Send + 'static,
    S: Sync,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        Self::take(parts).map(Self).ok_or_else(|| {
            let missing = "The principal of the request is missing.";
            Problem::Misconfigured(missing).into_response(&HttpConfig::default())
        })
    }
}

impl<P> Clone for Handed<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P, C: Clone> Clone for ProvedBy<P, C> {
    fn clone(&self) -> Self {
        Self {
            scope: self.scope,
            handler: self.handler.clone(),
            extractor: PhantomData,
        }
    }
}

impl<P, C: Copy> Copy for ProvedBy<P, C> {}

impl<P, C> fmt::Debug for ProvedBy<P, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::any::type_name::<P>())
    }
}
