use std::fmt;

#[cfg(feature = "axum")]
use crate::fingerprint::digest;

/// Whose key it is. Two scopes never see each other's records, and cannot tell that the other one used a key.
///
/// An authentication layer puts the principal that it has verified into the request's extensions:
///
/// ```
/// use idempotency::Scope;
///
/// # fn authenticate(request: &mut http::Request<()>, account: u64) {
/// request.extensions_mut().insert(Scope::principal(format!("account/{account}")));
/// # }
/// ```
///
/// Without one the scope is made of the request's credentials, in `Authorization` and in fields for API keys: a refreshed
/// token is a new scope. Credentials that change with each attempt, such as signatures, are refused. Requests without any
/// credential share one anonymous space; see `HttpConfig` for cookies.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Scope(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Anonymous,
    Principal(Box<str>),
    Credentials(Box<[u8]>),
    #[cfg(feature = "axum")]
    Fields([u8; 32]),
}

impl Scope {
    /// The space of everybody who is not known.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self(Kind::Anonymous)
    }

    /// The space of one verified principal: a stable subject, never the token that proves it.
    ///
    /// An empty subject names nobody: what asks under it is refused, by [`Rejection::NoPrincipal`](crate::Rejection::NoPrincipal)
    /// or by status 500. Otherwise all callers whose subject an authentication layer has failed to fill in would share one
    /// space, and get each other's responses.
    #[must_use]
    pub fn principal(subject: impl AsRef<str>) -> Self {
        Self(Kind::Principal(subject.as_ref().into()))
    }

    /// The space of whoever sent these credentials.
    #[must_use]
    pub fn credentials(authorization: &[u8]) -> Self {
        Self(Kind::Credentials(authorization.into()))
    }

    /// Whether it is of a principal without a name.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(&self.0, Kind::Principal(subject) if subject.is_empty())
    }

    /// The space of whoever sent these fields, each a name and a value.
    #[cfg(feature = "axum")]
    pub(crate) fn fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let parts = fields.flat_map(|(name, value)| [name, value]);
        Self(Kind::Fields(digest(parts)))
    }

    /// The kind and the name, which a digest must keep apart: no principal can be named like a credential.
    pub(crate) fn parts(&self) -> (&'static [u8], &[u8]) {
        match &self.0 {
            Kind::Anonymous => (b"anonymous", b""),
            Kind::Principal(subject) => (b"principal", subject.as_bytes()),
            Kind::Credentials(authorization) => (b"credentials", authorization),
            #[cfg(feature = "axum")]
            Kind::Fields(digest) => (b"fields", digest),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Kind::Anonymous => "Scope(anonymous)",
            Kind::Principal(_) => "Scope(principal …)",
            Kind::Credentials(_) => "Scope(credentials …)",
            #[cfg(feature = "axum")]
            Kind::Fields(_) => "Scope(credentials …)",
        })
    }
}
