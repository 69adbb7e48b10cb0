//! Who is calling, by an extractor that runs on every request, replays too.

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

/// An extractor that proves who is calling, for `#[idempotent(principal = …)]`: its caller owns the key.
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
/// The scope is made of what stays the same when the caller gets a new token: the subject, where there are several issuers
/// together with the issuer, and never the token itself. [`Scope::principal`] with an empty subject is refused with 500.
///
/// # Caveats
///
/// The extractor sees the head of the request. A signature of the body can be verified by a middleware outside, which puts
/// the [`Scope`] into the request's extensions. An extractor of another crate needs a type of your own around it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say whose key it is",
    label = "`{Self}` is no `Principal`",
    note = "write `impl idempotency::Principal for {Self}`, whose `scope` makes a `Scope` of the verified subject"
)]
pub trait Principal: Send + 'static {
    /// Who owns the key.
    fn scope(&self) -> Scope;
}

/// No extractor of the attribute's says who is calling.
#[derive(Clone, Copy, Debug)]
pub struct Unproved;

/// This extractor says who is calling.
pub struct ProvedBy<P, C> {
    scope: fn(&P) -> Scope,
    /// The handler, with [`Proved`] where the function takes the extractor's value.
    pub(super) handler: C,
    extractor: PhantomData<fn() -> P>,
}

/// What the function itself returns where it is called with a principal, as unit tests do. It can be awaited and is no
/// [`Future`], because a function that returns one would be a handler to which nobody has to prove anything.
#[must_use = "it does nothing until it is awaited"]
pub struct Direct<T>(BoxFuture<'static, T>);

/// The value of an extractor that has run before the handler's others.
#[derive(Debug)]
pub struct Proved<P>(pub P);

/// Whose key it is by the attribute's extractor, beside the [`Scope`] that a layer could have put there.
#[derive(Clone, Debug)]
pub(super) struct ProvedScope(pub(super) Scope);

/// The same value on its way to the handler. It need not be `Clone`, as an extension would have to be.
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

    /// The request with its caller; or the extractor's rejection, as it is.
    pub(super) async fn prove<S>(&self, request: Request, state: &S) -> Result<Request, Response>
    where
        P: FromRequestParts<S> + Send + 'static,
        S: Send + Sync,
    {
        let (mut parts, body) = request.into_parts();
        let principal = match P::from_request_parts(&mut parts, state).await {
            Ok(principal) => principal,
            Err(rejection) => {
                drop(read_on(Request::from_parts(parts, body)));
                return Err(rejection.into_response());
            }
        };
        // It says more than a layer outside, which may not know of it.
        let scope = (self.scope)(&principal);
        parts.extensions.insert(ProvedScope(scope.clone()));
        parts.extensions.insert(scope);
        let handed = Handed(Arc::new(Mutex::new(Some(principal))));
        parts.extensions.insert(handed);
        Ok(Request::from_parts(parts, body))
    }
}

impl<T> Direct<T> {
    /// The call of a function whose body this is.
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
        let handed = parts.extensions.remove::<Handed<P>>();
        handed
            .and_then(|Handed(principal)| principal.lock().take())
            .map(Self)
            .ok_or_else(|| {
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
