//! Identifies the caller where no layer in front of the handler has verified one: by a credential that stays the same
//! from one attempt to the next.

use http::{HeaderMap, HeaderName, header};

use super::problem::Problem;
use crate::{
    Scope,
    http_config::{Cookies, Credentials, HttpConfig},
};

/// The caller, as far as the head of a request shows.
pub(super) struct Caller<'a> {
    pub(super) scope: Scope,
    /// The cookies, where nothing else identifies the caller and the application has not named the session's cookie. They
    /// then belong to the fingerprint: a request with other cookies gets no response of this caller, although both use
    /// the same keys.
    pub(super) cookies: Option<Vec<&'a [u8]>>,
}

/// Schemes whose credentials change with each attempt. Every other scheme that is not known to be stable is refused too;
/// only these are named in the log, because a client may have sent a token in the place of a scheme.
const CHANGING_SCHEMES: [&str; 10] = [
    "AWS4-HMAC-SHA256",
    "AWS4-ECDSA-P256-SHA256",
    "Digest",
    "Hawk",
    "HOBA",
    "Negotiate",
    "NTLM",
    "OAuth",
    "SharedKey",
    "Signature",
];

/// Determines the caller from the head of a request.
pub(super) fn caller<'a>(
    config: &HttpConfig,
    headers: &'a HeaderMap,
) -> Result<Caller<'a>, Problem> {
    let credentials = &config.credentials;
    let authorization = authorization(credentials, headers)?;
    let is_signed = || {
        headers
            .keys()
            .any(|name| name.as_str() == "signature-input")
    };
    if authorization.is_none() && is_signed() {
        return Err(not_told_apart("Signature"));
    }
    let session = match &credentials.cookies {
        Cookies::Session(name) => session(headers, name),
        Cookies::Undecided | Cookies::Ignored => Vec::new(),
    };
    let mut others = Vec::new();
    for name in headers.keys() {
        if credentials.is_credential(name.as_str()) {
            let value = single(headers, name)?;
            if !is_missing(value) {
                others.push((name.as_str(), value));
            }
        }
    }
    // Clients and proxies do not preserve the order of fields.
    others.sort_unstable();

    let scope = match authorization {
        Some(authorization) if others.is_empty() && session.is_empty() => {
            Scope::credentials(&authorization)
        }
        None if others.is_empty() && session.is_empty() => Scope::anonymous(),
        authorization => {
            let fields = others.iter().map(|(name, value)| (name.as_bytes(), *value));
            let authorization = authorization.as_deref();
            let authorization = authorization.map(|value| (b"authorization".as_slice(), value));
            let session = session.iter().map(|value| (b"cookie".as_slice(), *value));
            Scope::fields(fields.chain(authorization).chain(session))
        }
    };
    let is_anonymous = scope.is_anonymous();
    let cookies = match credentials.cookies {
        Cookies::Undecided if is_anonymous && headers.contains_key(header::COOKIE) => {
            warn_of_cookies(config);
            Some(cookies(headers).collect())
        }
        _ => None,
    };
    Ok(Caller { scope, cookies })
}

/// The credentials in `Authorization`, if they are stable. RFC 9110 section 11.4 compares the scheme without regard to
/// case, and has one space or more after it.
fn authorization(
    credentials: &Credentials,
    headers: &HeaderMap,
) -> Result<Option<Vec<u8>>, Problem> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Ok(None);
    }
    let value = single(headers, &header::AUTHORIZATION)?.trim_ascii();
    let end = value.iter().position(|byte| matches!(byte, b' ' | b'\t'));
    let (scheme, token) = value.split_at(end.unwrap_or(value.len()));
    let (scheme, token) = (
        str::from_utf8(scheme).unwrap_or_default(),
        token.trim_ascii(),
    );
    let is_changing = || {
        CHANGING_SCHEMES
            .iter()
            .any(|known| known.eq_ignore_ascii_case(scheme))
    };
    match credentials.static_scheme(scheme) {
        Some(_) if is_missing(token) => Ok(None),
        Some(scheme) => Ok(Some([scheme.as_bytes(), b" ", token].concat())),
        // A value without a scheme is a token.
        None if token.is_empty() && !is_changing() => {
            Ok((!is_missing(value)).then(|| value.to_vec()))
        }
        None => Err(not_told_apart(scheme)),
    }
}

/// Values that broken clients send in place of credentials. All their users would be one caller.
fn is_missing(token: &[u8]) -> bool {
    matches!(token, b"" | b"undefined" | b"null" | b"None" | b"NaN")
}

/// A credential on two lines could be read differently here than by the application.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], Problem> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.as_bytes()),
        _ => Err(Problem::CredentialsRepeated),
    }
}

/// The values of the session's cookie. There are several if cookies of one name have different paths.
fn session<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let named = |cookie: &'a [u8]| cookie.strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    cookies(headers).filter_map(named).collect()
}

/// The cookies, each `name=value`. HTTP/2 may send them on several lines (RFC 9113 section 8.2.3).
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let cookies = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    cookies
        .map(<[u8]>::trim_ascii)
        .filter(|cookie| !cookie.is_empty())
}

/// The stable part of such credentials is public, and the rest has not been verified here. If it named the caller, an
/// attacker could read this caller's stored responses.
fn not_told_apart(scheme: &str) -> Problem {
    let known = CHANGING_SCHEMES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(scheme));
    tracing::error!(
        scheme = known.unwrap_or("another one"),
        "a request was refused because its credentials change with each attempt, so a retry cannot be recognised: give the \
         verified caller as a Scope, or declare the scheme by HttpConfig::with_static_scheme if its credentials are stable",
    );
    Problem::Misconfigured(
        "The credentials of this request change with each attempt, so that the service cannot recognise a retry. It has to \
         be told who the verified caller is. This attempt had no effect.",
    )
}

fn warn_of_cookies(config: &HttpConfig) {
    if config.warned.cookies.is_first() {
        tracing::warn!(
            "the callers of requests with an idempotency key are told apart by all their cookies alone: a retry with another cookie is \
             refused. Name the session's cookie by HttpConfig::with_session_cookie, or use HttpConfig::without_cookies, or \
             give the verified caller as a Scope",
        );
    }
}

/// A key in a field of another name protects nothing, although the client relies on it.
pub(super) fn warn_of_look_alikes(config: &HttpConfig, headers: &HeaderMap) {
    let found = headers.keys().find(|name| {
        let name = name.as_str();
        matches!(
            name,
            "x-idempotency-key" | "idempotent-key" | "idempotence-key"
        )
    });
    if let Some(found) = found
        && config.warned.look_alike.is_first()
    {
        tracing::warn!(
            field = found.as_str(),
            "a request has its key in another field than {}, and is not protected: HttpConfig::with_former_key_header has it \
             read there too",
            config.key,
        );
    }
}

/// Replays lack what a CORS layer inside of the protection adds, so no browser shows them to its page.
pub(super) fn warn_of_inner_cors(config: &HttpConfig, response: &HeaderMap) {
    let name = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    if let Some(value) = response.get(&name)
        && !config.keeps(&name, value, response)
        && config.warned.inner_cors.is_first()
    {
        tracing::warn!(
            "a response was stored without its CORS fields, so a browser does not show its replay to the page: put the CORS \
             layer outside of the protection",
        );
    }
}
