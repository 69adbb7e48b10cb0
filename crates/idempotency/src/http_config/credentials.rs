//! Which parts of a request tell callers apart.

use http::HeaderName;

/// The fields of a request that carry credentials, in addition to `Authorization`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) fields: Vec<HeaderName>,
    /// In lower case.
    pub(crate) schemes: Vec<Box<str>>,
    pub(crate) cookies: Cookies,
}

/// What cookies say about the caller.
#[derive(Clone, Debug, Default)]
pub(crate) enum Cookies {
    /// The application has not said.
    #[default]
    Undecided,
    /// Nothing.
    Ignored,
    /// This cookie names the session.
    Session(Box<str>),
}

/// Common fields for an API key.
const API_KEY_FIELDS: [&str; 5] = [
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "ocp-apim-subscription-key",
];

/// The schemes of `Authorization` whose credentials are the same on each attempt, in their usual spelling. `DPoP` proves
/// the possession of a key in a field of its own.
const STATIC_SCHEMES: [&str; 6] = ["Bearer", "Basic", "DPoP", "Token", "ApiKey", "Api-Key"];

impl Credentials {
    pub(crate) fn is_credential(&self, name: &str) -> bool {
        API_KEY_FIELDS.contains(&name) || self.fields.iter().any(|field| field == name)
    }

    /// The name of a stable scheme, in one spelling.
    pub(crate) fn static_scheme<'a>(&'a self, scheme: &str) -> Option<&'a str> {
        STATIC_SCHEMES
            .into_iter()
            .chain(self.schemes.iter().map(AsRef::as_ref))
            .find(|known| known.eq_ignore_ascii_case(scheme))
    }
}
