//! Names of header fields, and which of them a stored response keeps.

mod admission;
mod credentials;
mod dates;
mod fields;
mod rejection_response;
pub(crate) mod traceresponse;
mod warned;

use std::{iter, sync::Arc};

use axum::response::IntoResponse;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::http_rejection::HttpRejection;
pub(crate) use credentials::{Cookies, Credentials};
use dates::Dates;
use fields::{belongs_to_the_exchange, belongs_to_the_message, nominated, nonce, secret};
use rejection_response::RejectionResponse;
use traceresponse::Traceresponse;
use warned::Warned;

use crate::key::KeySyntax;

/// How requests are read and responses are marked.
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
    pub(crate) key: HeaderName,
    pub(crate) replayed: HeaderName,
    pub(crate) expires: HeaderName,
    /// The field that has the code of a refusal.
    pub(crate) problem: HeaderName,
    pub(crate) key_syntax: KeySyntax,
    pub(crate) docs: Box<str>,
    /// Where a caller asks what its key made, if the service has such a route.
    pub(crate) key_lookup: Option<Box<str>>,
    /// The second field that may carry the key, while clients change over.
    pub(crate) former_key: Option<HeaderName>,
    pub(crate) credentials: Credentials,
    pub(crate) warned: Arc<Warned>,
    pub(crate) dates: Arc<Dates>,
    /// The application's own response to refusals, in place of the library's problems.
    pub(crate) rejection_response: Option<RejectionResponse>,
    /// Names the trace of the run that made a response.
    pub(crate) traceresponse: Option<Traceresponse>,
    /// The longest body that is stored, if the application sets it.
    pub(crate) max_stored_body: Option<usize>,
    /// The shortest key of a caller without scope and credentials.
    pub(crate) min_anonymous_key_length: usize,
    pub(crate) refuses_keyless_early_data: bool,
    dropped: Vec<HeaderName>,
    kept: Vec<HeaderName>,
}

/// The longest body that is stored by default, if the store can hold it.
const DEFAULT_MAX_STORED_BODY: usize = 1024 * 1024;

impl HttpConfig {
    /// The names of the draft and of common practice, and keys with or without quotes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            key: HeaderName::from_static("idempotency-key"),
            replayed: HeaderName::from_static("idempotent-replayed"),
            expires: HeaderName::from_static("idempotency-expires"),
            problem: HeaderName::from_static("idempotency-problem"),
            key_syntax: KeySyntax::QuotedOrBare,
            docs: "https://docs.rs/idempotency/latest/idempotency/problems/index.html".into(),
            key_lookup: None,
            former_key: None,
            credentials: Credentials::default(),
            warned: Arc::default(),
            dates: Arc::default(),
            rejection_response: None,
            traceresponse: None,
            max_stored_body: None,
            min_anonymous_key_length: 0,
            refuses_keyless_early_data: false,
            dropped: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Sets the request field that carries the key, in place of `Idempotency-Key`.
    #[must_use]
    pub fn with_key_header(mut self, name: HeaderName) -> Self {
        self.key = name;
        self
    }

    /// Accepts the key in this field where the request has no other, such as `X-Idempotency-Key` while clients change
    /// over.
    ///
    /// A request with a key in both fields is refused with 400, unless the two are equal.
    #[must_use]
    pub fn with_former_key_header(mut self, name: HeaderName) -> Self {
        self.former_key = Some(name);
        self
    }

    /// Lists the request fields that the library reads and that a browser sends to another origin only where CORS allows
    /// it: those of the key, and `Prefer`.
    ///
    /// ```
    /// use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
    /// use idempotency::HttpConfig;
    /// use tower_http::cors::{AllowOrigin, CorsLayer};
    ///
    /// let http = HttpConfig::new();
    /// let mut allowed = http.cors_allow_headers();
    /// // The application's own fields.
    /// allowed.extend([AUTHORIZATION, CONTENT_TYPE]);
    /// let cors = CorsLayer::new()
    ///     .allow_origin(AllowOrigin::exact("https://shop.example".parse().unwrap()))
    ///     .allow_headers(allowed)
    ///     .expose_headers(http.cors_expose_headers());
    ///
    /// // Without that crate, the lists are the values of two fields.
    /// let exposed = http.cors_expose_headers();
    /// let exposed: Vec<_> = exposed.iter().map(HeaderName::as_str).collect();
    /// assert!(exposed.join(", ").starts_with("idempotent-replayed, idempotency-expires"));
    /// ```
    ///
    /// A field that a [`KeyFn`](crate::key::KeyFn) reads is one of the application's own.
    ///
    /// Put the CORS layer outside of everything that refuses requests: without CORS fields a script cannot read a
    /// refusal. Call this after setting the names.
    #[must_use]
    pub fn cors_allow_headers(&self) -> Vec<HeaderName> {
        let key = iter::once(&self.key).chain(&self.former_key).cloned();
        key.chain([HeaderName::from_static("prefer")]).collect()
    }

    /// Lists the response fields that a script of another origin needs, and can read only where CORS exposes them: those
    /// that mark replays and refusals, and `Location`, `Retry-After`, `Link` and `ETag`.
    /// [`cors_allow_headers`](Self::cors_allow_headers) has an example.
    #[must_use]
    pub fn cors_expose_headers(&self) -> Vec<HeaderName> {
        vec![
            self.replayed.clone(),
            self.expires.clone(),
            self.problem.clone(),
            header::LOCATION,
            header::RETRY_AFTER,
            header::LINK,
            header::ETAG,
        ]
    }

    /// Treats this field as a credential: a different value is a different caller.
    ///
    /// By default these are credentials: `Authorization`, `X-Api-Key`, `Api-Key`, `X-Auth-Token`, `X-Access-Token` and
    /// `Ocp-Apim-Subscription-Key`. All of them together identify the caller of a request that has no
    /// [`Scope`](crate::Scope).
    #[must_use]
    pub fn with_credential_header(mut self, name: HeaderName) -> Self {
        self.credentials.fields.push(name);
        self
    }

    /// Treats credentials of this scheme of `Authorization` as stable from one attempt to the next.
    ///
    /// By default these are stable: `Bearer`, `Basic`, `DPoP`, `Token`, `ApiKey` and `Api-Key`, and a token without a
    /// scheme. A request of any other scheme gets 500, unless it has a [`Scope`](crate::Scope): a signature differs on
    /// each attempt, so a retry could not be recognised.
    #[must_use]
    pub fn with_static_scheme(mut self, scheme: &str) -> Self {
        self.credentials
            .schemes
            .push(scheme.to_ascii_lowercase().into());
        self
    }

    /// Identifies the caller by this cookie, and ignores all other cookies.
    #[must_use]
    pub fn with_session_cookie(mut self, name: &str) -> Self {
        self.credentials.cookies = Cookies::Session(name.into());
        self
    }

    /// Ignores all cookies, as they do not identify the caller.
    ///
    /// Without this, and without [`with_session_cookie`](Self::with_session_cookie), all cookies count when a request
    /// that has no other credential is compared with its retries: a retry with a different cookie gets 422.
    #[must_use]
    pub fn without_cookies(mut self) -> Self {
        self.credentials.cookies = Cookies::Ignored;
        self
    }

    /// Sets the response field that marks a replay, in place of `Idempotent-Replayed`.
    #[must_use]
    pub fn with_replayed_header(mut self, name: HeaderName) -> Self {
        self.replayed = name;
        self
    }

    /// Sets the response field that says until when the response is replayed, in place of `Idempotency-Expires`.
    #[must_use]
    pub fn with_expires_header(mut self, name: HeaderName) -> Self {
        self.expires = name;
        self
    }

    /// Accepts keys in double quotes only, as the draft writes them.
    #[must_use]
    pub fn with_strict_keys(mut self) -> Self {
        self.key_syntax = KeySyntax::Quoted;
        self
    }

    /// Sets the page that `type` and `Link` of every problem point to, without a fragment. The draft's section 2.5.2
    /// requires a published policy: format of keys, ttl, scope, what is stored.
    #[must_use]
    pub fn with_docs(mut self, url: &str) -> Self {
        self.docs = url.into();
        self
    }

    /// Sets the URL at which a caller asks what its key made, such as `/bookings/by-key`. The problem
    /// [`key-reused`](crate::problems#key-reused), 422, then has a second `Link` to it, with `rel="related"`, and names it in its `detail`:
    /// a client that used its key for another request has lost what the first one made.
    ///
    /// ```
    /// use idempotency::HttpConfig;
    ///
    /// let http = HttpConfig::new().with_key_lookup("/bookings/by-key");
    /// ```
    ///
    /// The application has the route: a GET with the key in the same field, for the key's owner only.
    /// [`record_ids`](crate::Idempotency::record_ids) and [`stored_response`](crate::Idempotency::stored_response) find the
    /// response. The URL may be relative, and has no key in it, because URLs are logged.
    ///
    /// # Panics
    ///
    /// If a header field cannot contain it in angle brackets.
    #[must_use]
    pub fn with_key_lookup(mut self, url: &str) -> Self {
        let is_url = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"');
        assert!(
            !url.is_empty() && url.bytes().all(is_url),
            "with_key_lookup({url:?}): a URL has visible ASCII characters only, without quotes and angle brackets"
        );
        self.key_lookup = Some(url.into());
        self
    }

    /// Sets the application's own response to a refusal, in place of `application/problem+json`.
    ///
    /// ```
    /// use axum::Json;
    /// use idempotency::{HttpConfig, Idempotency, MemoryStore};
    /// use serde_json::json;
    ///
    /// let http = HttpConfig::new().with_rejection_response(|rejection| {
    ///     let error = json!({ "error": rejection.code(), "message": rejection.detail() });
    ///     (rejection.status(), Json(error))
    /// });
    /// let idempotency = Idempotency::builder(MemoryStore::new()).with_http(http).build();
    /// ```
    ///
    /// The library adds `Idempotency-Problem` with the [code](HttpRejection::code), by which clients such as the one of the
    /// feature `client` know the refusal whatever its body says. It adds `Cache-Control: no-store` and `Link`, too, and where they apply `Retry-After` and `Location`: each one
    /// unless the response has that field. Like every refusal it is not stored, whatever its
    /// [`Disposition`](crate::Disposition); [`Keep::All`](crate::options::Keep::All) stores it for a handler that panicked. Its
    /// extensions have the [`HttpRejection`].
    ///
    /// A [`CommitError`](crate::CommitError) or a [`StepError`](crate::StepError) that a handler returns as its response
    /// gets it too, if the request has an engine. A router without an engine and a handler without protection do not use
    /// the function. If the function panics, the client gets the library's response. It runs on the request's thread, so
    /// it must not block.
    #[must_use]
    pub fn with_rejection_response<R: IntoResponse>(
        mut self,
        respond: impl Fn(&HttpRejection) -> R + Send + Sync + 'static,
    ) -> Self {
        self.rejection_response = Some(RejectionResponse::new(respond));
        self
    }

    /// Stores the trace of the run with its response, as the field `Traceresponse` (W3C Trace Context, level 3, draft), so that a replay can
    /// be linked to it.
    ///
    /// ```
    /// use idempotency::HttpConfig;
    ///
    /// // With OpenTelemetry: made from the context of `tracing::Span::current()`.
    /// let current = || "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok();
    /// let http = HttpConfig::new().with_traceresponse(current);
    /// ```
    ///
    /// The function is called in the request's span, once for each response that is stored. A response that has the field keeps its own. If
    /// the function panics, the response is stored without the field. A middleware outside of the protection finds it on the run's response and on
    /// replays, and replaces it if clients expect the trace of their own request there.
    #[must_use]
    pub fn with_traceresponse(
        mut self,
        current: impl Fn() -> Option<HeaderValue> + Send + Sync + 'static,
    ) -> Self {
        self.traceresponse = Some(Traceresponse::new(current));
        // Otherwise it belongs to the exchange, and is left out.
        self.with_kept_header(traceresponse::FIELD)
    }

    /// Stores response bodies of up to this many bytes, in place of 1 MiB.
    ///
    /// ```
    /// use idempotency::{HttpConfig, Idempotency, MemoryStore};
    ///
    /// let http = HttpConfig::new().with_max_stored_body(8 * 1024 * 1024);
    /// let idempotency = Idempotency::builder(MemoryStore::new()).with_http(http).build();
    /// ```
    ///
    /// A longer body reaches its first client whole, and a retry gets 409
    /// [`response-not-stored`](crate::problems#response-not-stored). A body up to this limit is held in memory whole:
    /// before its first byte is sent, and in each replay.
    ///
    /// Each store has a [limit](crate::Store::outcome_limit) of its own, for the body and its header fields together.
    /// With a higher limit here the engine [cannot be built](crate::IdempotencyBuilder::build).
    #[must_use]
    pub const fn with_max_stored_body(mut self, bytes: usize) -> Self {
        self.max_stored_body = Some(bytes);
        self
    }

    /// Leaves this field out of stored responses, and so of replays, in addition to the default ones.
    ///
    /// By default these are left out: fields of the connection; fields that prove or grant an identity, such as
    /// `Set-Cookie` and those of [`with_credential_header`](Self::with_credential_header), and all with `api-key`,
    /// `csrf`, `nonce`, `password`, `secret`, `session`, `signature`, `token` or `xsrf` in their names; a
    /// `Content-Security-Policy` with a nonce; and fields of one exchange, such as traces, quotas and CORS. A secret in a
    /// field of another name has to be named here.
    #[must_use]
    pub fn with_dropped_header(mut self, name: HeaderName) -> Self {
        self.dropped.push(name);
        self
    }

    /// Keeps a field in replays that is left out by default, such as `X-Request-Id`, or `Page-Token`, which is left out
    /// for its name alone.
    ///
    /// Fields that describe the connection, `Date` and `Content-Length` cannot be kept: repeated, they break the message.
    #[must_use]
    pub fn with_kept_header(mut self, name: HeaderName) -> Self {
        self.kept.push(name);
        self
    }

    /// The longest body that is stored, given the store's limit.
    pub(crate) fn max_stored_body_in(&self, outcome_limit: usize) -> usize {
        let max = self.max_stored_body.unwrap_or(DEFAULT_MAX_STORED_BODY);
        max.min(outcome_limit)
    }

    /// Whether a stored response keeps this field line; `headers` are all fields of that response.
    pub(crate) fn keeps(&self, name: &HeaderName, value: &HeaderValue, answer: &HeaderMap) -> bool {
        if belongs_to_the_message(name) || nominated(name, answer) || self.marks(name) {
            return false;
        }
        if self.dropped.contains(name) {
            return false;
        }
        let is_secret =
            secret(name) || nonce(name, value) || self.credentials.is_credential(name.as_str());
        !(is_secret || belongs_to_the_exchange(name)) || self.kept.contains(name)
    }

    fn marks(&self, name: &HeaderName) -> bool {
        *name == self.replayed || *name == self.expires || *name == self.problem
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self::new()
    }
}
