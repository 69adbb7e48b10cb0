//! Which parts of a request tell callers apart.

use http::HeaderName;

/// Which fields of a request carry credentials, beside `Authorization`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) fields: Vec<HeaderName>,
    /// In lower case.
    pub(crate) schemes: Vec<Box<str>>,
    pub(crate) cookies: Cookies,
}

/// What cookies say of the caller.
#[derive(Clone, Debug, Default)]
pub(crate) enum Cookies {
    /// Nobody has said it.
    #[default]
    Undecided,
    /// Nothing.
    Ignored,
    /// This one is the session.
    Session(Box<str>),
}

/// Fields in which services take an API key.
const API_KEY_FIELDS: [&str; 5] = [
    "x-api-key",
    "api-key",
    "x-auth-token",
    "x-access-token",
    "ocp-apim-subscription-key",
];

/// The schemes of `Authorization` whose credentials are the same at each attempt, as they are usually written. `DPoP` proves the
/// possession of a key in a field of its own.
const STATIC_SCHEMES: [&str; 6] = ["Bearer", "Basic", "DPoP", "Token", "ApiKey", "Api-Key"];

impl Credentials {
    pub(crate) fn is_credential(&self, name: &str) -> bool {
        API_KEY_FIELDS.contains(&name) || self.fields.iter().any(|field| field == name)
    }

    /// The name of a scheme whose credentials stay, written in one way.
    pub(crate) fn static_scheme<'a>(&'a self, scheme: &str) -> Option<&'a str> {
        STATIC_SCHEMES
            .into_iter()
            .chain(self.schemes.iter().map(AsRef::as_ref))
            .find(|known| known.eq_ignore_ascii_case(scheme))
    }
}
