//! A response, read to its end, with assertions about it.

use bytes::Bytes;
use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::Value;

use crate::wait::within_a_minute;

/// The problems: code, section of the page that explains it, and status.
const PROBLEMS: [(&str, &str, u16); 23] = [
    ("content_too_large", "content-too-large", 413),
    ("credentials_repeated", "credentials-repeated", 400),
    ("handler_failed", "handler-failed", 500),
    ("idempotency_early_data", "early-data", 425),
    ("idempotency_in_progress", "in-progress", 409),
    ("idempotency_key_incomparable", "key-incomparable", 409),
    ("idempotency_key_malformed", "key-malformed", 400),
    ("idempotency_key_missing", "key-missing", 400),
    ("idempotency_key_reused", "key-reused", 422),
    ("idempotency_key_too_long", "key-malformed", 400),
    ("idempotency_key_too_short", "key-malformed", 400),
    ("idempotency_misconfigured", "misconfigured", 500),
    ("idempotency_outcome_unknown", "outcome-unknown", 409),
    ("idempotency_response_erased", "response-erased", 410),
    (
        "idempotency_response_not_stored",
        "response-not-stored",
        409,
    ),
    (
        "idempotency_response_unavailable",
        "response-unavailable",
        503,
    ),
    ("idempotency_shutting_down", "shutting-down", 503),
    ("idempotency_step_not_stored", "step-not-stored", 503),
    ("idempotency_store_full", "store-unavailable", 503),
    ("idempotency_store_unavailable", "store-unavailable", 503),
    ("idempotency_too_many_keys", "too-many-keys", 429),
    ("idempotency_too_many_new_keys", "too-many-keys", 429),
    ("response_broken", "response-broken", 500),
];

/// One response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
}

impl Reply {
    /// The response to this request.
    ///
    /// # Panics
    ///
    /// If there is no response, or only a part of it.
    pub async fn to(request: RequestBuilder) -> Self {
        let response = within_a_minute("a response", request.send())
            .await
            .expect("a response");
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            body: response.bytes().await.expect("a whole body"),
        }
    }

    /// The status with its words.
    pub fn status(&self) -> String {
        self.status.to_string()
    }

    /// The value of the first field of this name.
    ///
    /// # Panics
    ///
    /// If it is not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("a text"))
    }

    /// The body.
    ///
    /// # Panics
    ///
    /// If it is not text.
    #[must_use]
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("a text")
    }

    /// The body.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether this is a stored response.
    pub fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Asserts that a handler has just made this response.
    #[track_caller]
    pub fn assert_fresh(&self, status: u16) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("idempotent-replayed"), None, "{self:?}");
    }

    /// Asserts that this is a stored response with this status.
    #[track_caller]
    pub fn assert_replay(&self, status: u16) {
        assert!(self.is_replay(), "{self:?}");
        assert_eq!(self.status.as_u16(), status, "{self:?}");
    }

    /// Asserts that this is the stored form of `first`.
    #[track_caller]
    pub fn assert_replays(&self, first: &Self) {
        assert!(self.is_replay(), "{self:?}");
        assert_eq!(self.status, first.status);
        assert_eq!(self.body, first.body);
        for name in ["content-type", "location", "etag", "idempotency-expires"] {
            assert_eq!(self.header(name), first.header(name), "{name}");
        }
    }

    /// Asserts that this is the refusal with this code, complete in all its parts.
    #[track_caller]
    pub fn assert_problem(&self, code: &str) {
        let problem = PROBLEMS.iter().find(|(of, ..)| *of == code);
        let (_, name, status) = problem.expect("a code of the list");
        assert_eq!(self.status.as_u16(), *status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.header("content-language"), Some("en"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("idempotent-replayed"), None);
        assert_eq!(self.header("idempotency-expires"), None);
        let problem = self.json();
        let page = problem["type"].as_str().expect("a type");
        assert!(
            page.starts_with("https://") && page.ends_with(&format!("#{name}")),
            "{page}"
        );
        assert_eq!(
            self.header("link"),
            Some(format!("<{page}>; rel=\"describedby\"; type=\"text/html\"").as_str()),
        );
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(problem["code"], code);
        assert_eq!(self.header("idempotency-problem"), Some(code));
        assert!(!problem["title"].as_str().expect("a title").is_empty());
        assert!(!problem["detail"].as_str().expect("a detail").is_empty());
        assert_eq!(
            problem
                .get("retry_after")
                .map(ToString::to_string)
                .as_deref(),
            self.header("retry-after"),
        );
    }
}
