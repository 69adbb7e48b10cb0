use std::{
    fmt,
    hash::{Hash, Hasher},
};

use crate::Label;
#[cfg(feature = "axum")]
use crate::fingerprint::digest;

/// The owner of a key. Two scopes never see each other's records, and cannot tell whether the other has used a key.
///
/// An authentication layer puts the verified principal into the request's extensions:
///
/// ```
/// use idempotency::Scope;
///
/// # fn authenticate(request: &mut http::Request<()>, account: u64) {
/// request.extensions_mut().insert(Scope::principal(format!("account/{account}")));
/// # }
/// ```
///
/// A function that is set by `IdempotencyBuilder::with_scope` can supply it for all requests. Without either, the scope
/// is derived from the request's credentials, in `Authorization` and in header fields for API keys, so a refreshed
/// token is a new scope. Credentials that change with each attempt, such as signatures, are refused. Requests without
/// credentials share one anonymous scope; see `HttpConfig` for cookies.
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

    /// The scope that all unidentified callers share.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self::new(Kind::Anonymous)
    }

    /// The scope of one verified principal: a stable subject, never the token that proves it.
    ///
    /// An empty subject identifies no caller: a request under it is refused with
    /// [`Rejection::NoPrincipal`](crate::Rejection::NoPrincipal) or status 500. Otherwise all callers whose subject an
    /// authentication layer failed to fill in would share one scope, and get each other's responses.
    #[must_use]
    pub fn principal(subject: impl AsRef<str>) -> Self {
        Self::new(Kind::Principal(subject.as_ref().into()))
    }

    /// The scope of the caller with these credentials.
    #[must_use]
    pub fn credentials(authorization: &[u8]) -> Self {
        Self::new(Kind::Credentials(authorization.into()))
    }

    /// The same scope, whose records get this label, so that an operator can find them by it. An empty label is none.
    #[must_use]
    pub fn labelled(mut self, label: Label) -> Self {
        // Otherwise the records of all callers without such a word would be found together.
        self.label = Some(label).filter(|label| !label.text.is_empty());
        self
    }

    pub(crate) const fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    pub(crate) const fn is_anonymous(&self) -> bool {
        matches!(self.kind, Kind::Anonymous)
    }

    /// Whether this is a principal with an empty name.
    pub(crate) fn is_nobody(&self) -> bool {
        matches!(&self.kind, Kind::Principal(subject) if subject.is_empty())
    }

    /// The scope of the caller that sent these header fields, each a name and a value.
    #[cfg(feature = "axum")]
    pub(crate) fn fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let parts = fields.flat_map(|(name, value)| [name, value]);
        Self::new(Kind::Fields(digest(parts)))
    }

    /// The kind and the name. A digest must keep them apart, so that no principal can be named like a credential.
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

/// The label does not count: it only helps to find records.
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
