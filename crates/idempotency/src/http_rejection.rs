//! Why a request was refused, as its response says.

use std::{fmt, sync::Arc, time::Duration};

use http::StatusCode;

/// Why the library refused a request: the content of the [problem](crate::problems) that the client gets.
///
/// The response to every refusal has it in its extensions, where a middleware outside can read it:
///
/// ```
/// use axum::{extract::Request, middleware::Next, response::Response};
/// use idempotency::http::HttpRejection;
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
/// [`HttpConfig::with_rejection_response`](crate::HttpConfig::with_rejection_response) makes a different response of it.
/// It never repeats the key or the body.
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

    /// The same rejection, explained on this page.
    pub(crate) fn on_page(mut self, docs: &str) -> Self {
        self.page = format!("{docs}#{}", self.name).into();
        self
    }

    pub(crate) const fn retry_after_seconds(&self) -> Option<u32> {
        self.retry_after_seconds
    }

    /// The status of the library's response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// An identifier for programs, such as `idempotency_in_progress`. It does not change between versions.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// A short description in English.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// What the client can do, in English.
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

    /// The URL of the page that explains it, from [`HttpConfig::with_docs`](crate::HttpConfig::with_docs).
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
