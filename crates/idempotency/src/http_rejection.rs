//! Why a request was refused, as its response says it.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

/// Why the library refused a request: what is in the [problem](crate::problems) that the client gets.
///
/// It is in the extensions of the response to every refusal, where a middleware outside finds it:
///
/// ```
/// use axum::{extract::Request, middleware::Next, response::Response};
/// use idempotency::HttpRejection;
///
/// async fn count(request: Request, next: Next) -> Response {
///     let response = next.run(request).await;
///     if let Some(rejection) = response.extensions().get::<HttpRejection>() {
///         eprintln!("refused with {}", rejection.code());
///     }
///     response
/// }
/// ```
///
/// [`HttpConfig::with_rejection_response`](crate::HttpConfig::with_rejection_response) makes another response of it. Nothing in
/// it repeats the key or the body.
#[derive(Clone, Debug)]
pub struct HttpRejection {
    status: StatusCode,
    name: &'static str,
    code: &'static str,
    title: &'static str,
    detail: Arc<str>,
    retry_after_seconds: Option<u32>,
    page: Arc<str>,
}

impl HttpRejection {
    pub(crate) fn new(
        status: StatusCode,
        name: &'static str,
        code: &'static str,
        title: &'static str,
        detail: &str,
    ) -> Self {
        Self {
            status,
            name,
            code,
            title,
            detail: detail.into(),
            retry_after_seconds: None,
            page: "".into(),
        }
    }

    pub(crate) const fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// The same, explained on this page.
    pub(crate) fn on_page(mut self, docs: &str) -> Self {
        self.page = format!("{docs}#{}", self.name).into();
        self
    }

    pub(crate) const fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after_seconds
    }

    /// The status that the library gives it.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// A word for programs, such as `idempotency_in_progress`. It stays the same from one version to the next.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// What it is, in a few English words.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// What the client can do about it, in English.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// When the client may send the same request again; `None` if it would be refused again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.retry_after_seconds?;
        Some(Duration::from_secs(seconds.into()))
    }

    /// The URL of the page that explains it, as [`HttpConfig::with_docs`](crate::HttpConfig::with_docs) has it.
    #[must_use]
    pub fn page(&self) -> &str {
        &self.page
    }
}

impl fmt::Display for HttpRejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code, self.detail)
    }
}
