use std::{
    fmt,
    hash::{Hash, Hasher},
};

use crate::Label;
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
/// A function of the engine's can say it for all requests, by `IdempotencyBuilder::with_scope`.
/// Without either the scope is made of the request's credentials, in `Authorization` and in fields for API keys: a refreshed
/// token is a new scope. Credentials that change with each attempt, such as signatures, are refused. Requests without any
/// credential share one anonymous space; see `HttpConfig` for cookies.
#[derive(Clone)]
pub struct Scope {
    kind: Kind,
    label: Option<Label>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Anonymous,
    Principal(Box<str>),
    Credentials(Box<[u8]>),
    #[cfg(feature = "axum")]
    Fields([u8; 32]),
}

impl Scope {
    const fn new(kind: Kind) -> Self {
        Self { kind, label: None }
    }

    /// The space of everybody who is not known.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self::new(Kind::Anonymous)
    }

    /// The space of one verified principal: a stable subject, never the token that proves it.
    ///
    /// An empty subject names nobody: what asks under it is refused, by [`Rejection::NoPrincipal`](crate::Rejection::NoPrincipal)
    /// or by status 500. Otherwise all callers whose subject an authentication layer has failed to fill in would share one
    /// space, and get each other's responses.
    #[must_use]
    pub fn principal(subject: impl AsRef<str>) -> Self {
        Self::new(Kind::Principal(subject.as_ref().into()))
    }

    /// The space of whoever sent these credentials.
    #[must_use]
    pub fn credentials(authorization: &[u8]) -> Self {
        Self::new(Kind::Credentials(authorization.into()))
    }

    /// The same space, whose records have this label, by which an operator finds them.
    #[must_use]
    pub fn labelled(mut self, label: Label) -> Self {
        self.label = Some(label);
        self
    }

    pub(crate) const fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    /// Whether it is of a principal without a name.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(&self.kind, Kind::Principal(subject) if subject.is_empty())
    }

    /// The space of whoever sent these fields, each a name and a value.
    #[cfg(feature = "axum")]
    pub(crate) fn fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let parts = fields.flat_map(|(name, value)| [name, value]);
        Self::new(Kind::Fields(digest(parts)))
    }

    /// The kind and the name, which a digest must keep apart: no principal can be named like a credential.
    pub(crate) fn parts(&self) -> (&'static [u8], &[u8]) {
        match &self.kind {
            Kind::Anonymous => (b"anonymous", b""),
            Kind::Principal(subject) => (b"principal", subject.as_bytes()),
            Kind::Credentials(authorization) => (b"credentials", authorization),
            #[cfg(feature = "axum")]
            Kind::Fields(digest) => (b"fields", digest),
        }
    }
}

/// Whose it is counts; a label is for finding only.
impl PartialEq for Scope {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Scope {}

impl Hash for Scope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            Kind::Anonymous => "Scope(anonymous)",
            Kind::Principal(_) => "Scope(principal …)",
            Kind::Credentials(_) => "Scope(credentials …)",
            #[cfg(feature = "axum")]
            Kind::Fields(_) => "Scope(credentials …)",
        })
    }
}
