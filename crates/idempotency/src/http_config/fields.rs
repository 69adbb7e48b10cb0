//! Which fields of a response are not repeated in a replay.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields of one message on one connection (RFC 9110 section 7.6.1), which hyper writes itself. A repeated `Date` would
/// be stale, and a repeated `Transfer-Encoding` would leave the client without a response.
pub(super) fn belongs_to_the_message(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "date"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Fields that `Connection` names are hop-by-hop as well.
pub(super) fn nominated(name: &HeaderName, response: &HeaderMap) -> bool {
    response.get_all(header::CONNECTION).iter().any(|value| {
        value.as_bytes().split(|&byte| byte == b',').any(|option| {
            option
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_str().as_bytes())
        })
    })
}

/// What names of fields have in them that prove or grant an identity.
const SECRET_PARTS: [&str; 9] = [
    "api-key",
    "csrf",
    "nonce",
    "password",
    "secret",
    "session",
    "signature",
    "token",
    "xsrf",
];

/// Fields that prove or grant an identity. They are never stored.
pub(super) fn secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Most responses have no others, and none of these is searched for the parts of names below.
    if matches!(
        name,
        "cache-control" | "content-type" | "etag" | "location" | "vary"
    ) {
        return false;
    }
    matches!(
        name,
        "authentication-info"
            | "authorization"
            | "clear-site-data"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "set-cookie"
            | "set-cookie2"
            | "www-authenticate"
    ) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

/// A policy with a nonce for one response. If it were repeated, an attacker who has seen it once could run scripts.
pub(super) fn nonce(name: &HeaderName, value: &HeaderValue) -> bool {
    let policy = [
        header::CONTENT_SECURITY_POLICY,
        header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    ];
    let nonce = b"'nonce-";
    let mut sources = value.as_bytes().windows(nonce.len());
    policy.contains(name) && sources.any(|source| source.eq_ignore_ascii_case(nonce))
}

/// Fields about the one exchange they belong to: traces, quotas, hops, CORS.
pub(super) fn belongs_to_the_exchange(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "age"
            | "alt-svc"
            | "nel"
            | "report-to"
            | "request-id"
            | "server"
            | "server-timing"
            | "traceparent"
            | "traceresponse"
            | "tracestate"
            | "via"
            | "x-amzn-trace-id"
            | "x-correlation-id"
            | "x-request-id"
    ) || [
        "access-control-",
        "ratelimit",
        "x-rate-limit-",
        "x-ratelimit-",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
}
