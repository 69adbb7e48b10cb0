//! Names of header fields, and which of them a stored answer keeps.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// How requests are read and answers are marked.
///
/// ```
/// use idempotency::HttpConfig;
///
/// let http = HttpConfig::new()
///     .with_strict_keys()
///     .with_docs("https://api.example.com/docs/retries")
///     .with_dropped_header("x-served-by".parse().unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub(super) key: HeaderName,
    pub(super) replayed: HeaderName,
    pub(super) expires: HeaderName,
    pub(super) strict: bool,
    pub(super) docs: Box<str>,
    dropped: Vec<HeaderName>,
    kept: Vec<HeaderName>,
}

impl HttpConfig {
    /// The names of the draft and of common practice, and both ways of writing a key.
    #[must_use]
    pub fn new() -> Self {
        Self {
            key: HeaderName::from_static("idempotency-key"),
            replayed: HeaderName::from_static("idempotent-replayed"),
            expires: HeaderName::from_static("idempotency-expires"),
            strict: false,
            docs: "https://docs.rs/idempotency/latest/idempotency/problems/index.html".into(),
            dropped: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// The request field that carries the key, in place of `Idempotency-Key`. There is only ever one.
    #[must_use]
    pub fn with_key_header(mut self, name: HeaderName) -> Self {
        self.key = name;
        self
    }

    /// The response field that marks a replay, in place of `Idempotent-Replayed`.
    #[must_use]
    pub fn with_replayed_header(mut self, name: HeaderName) -> Self {
        self.replayed = name;
        self
    }

    /// The response field that says until when the answer is replayed, in place of `Idempotency-Expires`.
    #[must_use]
    pub fn with_expires_header(mut self, name: HeaderName) -> Self {
        self.expires = name;
        self
    }

    /// Takes keys in double quotes only, as the draft writes them.
    #[must_use]
    pub fn with_strict_keys(mut self) -> Self {
        self.strict = true;
        self
    }

    /// The page that `type` and `Link` of every problem point to, without a fragment. The draft's section
    /// 2.5.2 wants the policy published: format of keys, ttl, scope, what is stored.
    #[must_use]
    pub fn with_docs(mut self, url: &str) -> Self {
        self.docs = url.into();
        self
    }

    /// Leaves this field out of what is stored, and so of replays, in addition to those that are left out by default.
    ///
    /// By default that are: fields of the connection; fields that prove or grant an identity, such as `Set-Cookie`, and all
    /// with `csrf`, `nonce`, `password`, `secret`, `session`, `signature`, `token` or `xsrf` in their names; a
    /// `Content-Security-Policy` with a nonce; and fields of one exchange, such as traces, quotas and CORS. A secret in a
    /// field of another name has to be named here.
    #[must_use]
    pub fn with_dropped_header(mut self, name: HeaderName) -> Self {
        self.dropped.push(name);
        self
    }

    /// Keeps a field in replays that is left out of them by default, such as `X-Request-Id`, or `Page-Token` for the name's
    /// sake.
    ///
    /// Fields that describe the connection, `Date` and `Content-Length` cannot be kept: repeated, they break
    /// the message.
    #[must_use]
    pub fn with_kept_header(mut self, name: HeaderName) -> Self {
        self.kept.push(name);
        self
    }

    /// Whether a stored answer keeps this line of an answer that had these headers.
    pub(super) fn keeps(&self, name: &HeaderName, value: &HeaderValue, answer: &HeaderMap) -> bool {
        if belongs_to_the_message(name) || nominated(name, answer) || self.marks(name) {
            return false;
        }
        if self.dropped.contains(name) {
            return false;
        }
        !(secret(name) || nonce(name, value) || belongs_to_the_exchange(name))
            || self.kept.contains(name)
    }

    fn marks(&self, name: &HeaderName) -> bool {
        *name == self.replayed || *name == self.expires
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Fields of one message on one connection (RFC 9110 section 7.6.1), which hyper writes anew. A repeated
/// `Date` would go out stale, a repeated `Transfer-Encoding` would leave the client without an answer.
fn belongs_to_the_message(name: &HeaderName) -> bool {
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
fn nominated(name: &HeaderName, answer: &HeaderMap) -> bool {
    answer.get_all(header::CONNECTION).iter().any(|value| {
        value.as_bytes().split(|&byte| byte == b',').any(|option| {
            option
                .trim_ascii()
                .eq_ignore_ascii_case(name.as_str().as_bytes())
        })
    })
}

/// Fields that prove or grant an identity: they are never written down.
fn secret(name: &HeaderName) -> bool {
    let name = name.as_str();
    let kinds = [
        "csrf",
        "nonce",
        "password",
        "secret",
        "session",
        "signature",
        "token",
        "xsrf",
    ];
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
            | "x-api-key"
    ) || kinds.iter().any(|kind| name.contains(kind))
}

/// A policy whose nonce is for one response: repeated, whoever has seen it once can run scripts.
fn nonce(name: &HeaderName, value: &HeaderValue) -> bool {
    let policy = [
        header::CONTENT_SECURITY_POLICY,
        header::CONTENT_SECURITY_POLICY_REPORT_ONLY,
    ];
    let nonce = b"'nonce-";
    let mut sources = value.as_bytes().windows(nonce.len());
    policy.contains(name) && sources.any(|source| source.eq_ignore_ascii_case(nonce))
}

/// Fields that speak of the one exchange they came with: traces, quotas, hops, CORS.
fn belongs_to_the_exchange(name: &HeaderName) -> bool {
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
