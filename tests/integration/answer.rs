//! A response, read to its end, and what tests say about it.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::RequestBuilder;
use serde_json::Value;

use crate::fragile::within_a_minute;

#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn to(request: RequestBuilder) -> Self {
        let response = within_a_minute("no answer came", request.send())
            .await
            .expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            body: response.bytes().await.expect("a whole body"),
        }
    }

    /// The status with its words.
    pub(crate) fn status(&self) -> String {
        self.status.to_string()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("a text"))
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("a text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether this is a stored answer.
    pub(crate) fn is_replay(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// That a handler answered just now.
    #[track_caller]
    pub(crate) fn assert_fresh(&self, status: &str) {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.header("idempotent-replayed"), None, "{self:?}");
    }

    /// That this is the stored form of `first`.
    #[track_caller]
    pub(crate) fn assert_replay_of(&self, first: &Self) {
        assert!(self.is_replay(), "{self:?}");
        assert_eq!(self.status, first.status);
        assert_eq!(self.body, first.body);
        for name in ["content-type", "location", "etag", "idempotency-expires"] {
            assert_eq!(self.header(name), first.header(name), "{name}");
        }
    }

    /// That this is the refusal of this name, complete in all its parts.
    #[track_caller]
    pub(crate) fn assert_problem(&self, name: &str, status: &str, code: &str) {
        assert_eq!(self.status(), status, "{self:?}");
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
