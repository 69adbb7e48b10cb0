use std::time::Duration;

use http::HeaderName;
use reqwest::{ClientBuilder, IntoUrl, Method, RequestBuilder, retry};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    age,
    backoff::Backoff,
    error::{GaveUp, LastAttempt, SendError},
    exchange::{Failure, exchange},
    intent::Intent,
    intent_record::IntentRecord,
    moment::Moment,
    redirects,
    request::RepeatableRequest,
    response::Response,
    retry_after,
    verdict::Verdict,
};
use crate::{Clock, log_text};

/// Sends requests until they have their response.
///
/// ```no_run
/// use idempotency::{
///     client::{Intent, RetryingClient},
///     reqwest,
/// };
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = RetryingClient::new(reqwest::Client::builder())?;
/// let request = client.post("http://127.0.0.1:3000/payments").body("5 EUR");
/// let response = client.send(&Intent::new(), request).await?;
/// # Ok(())
/// # }
/// ```
///
/// See the [module](super) for what is sent again.
#[derive(Clone, Debug)]
pub struct RetryingClient {
    http: reqwest::Client,
    deadline: Duration,
    max_attempts: u32,
    attempt_timeout: Duration,
    backoff: Backoff,
    ttl: Duration,
    max_response: usize,
    compared: Vec<HeaderName>,
    clock: Clock,
}

impl RetryingClient {
    /// A client that connects as this builder says, and gives up after 8 attempts or two minutes.
    ///
    /// Two of the builder's settings are replaced. Only 307 and 308 are followed, and only within an origin, so that no
    /// redirect takes key and body elsewhere. And reqwest repeats nothing by itself, because its retries have no pause.
    ///
    /// # Errors
    ///
    /// If the builder has none, such as for a TLS that cannot be set up.
    pub fn new(http: ClientBuilder) -> reqwest::Result<Self> {
        let http = http.redirect(redirects::policy()).retry(retry::never());
        Ok(Self {
            http: http.build()?,
            deadline: Duration::from_secs(120),
            max_attempts: 8,
            attempt_timeout: Duration::from_secs(10),
            backoff: Backoff {
                first: Duration::from_millis(500),
                longest: Duration::from_secs(30),
            },
            ttl: Duration::from_secs(3600),
            max_response: 16 << 20,
            compared: Vec::new(),
            clock: Clock::system(),
        })
    }

    /// Sets how long [`send`](Self::send) takes at most, with all attempts and pauses: two minutes by default.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets how many attempts [`send`](Self::send) makes at most: 8 by default, and at least one.
    #[must_use]
    pub const fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets how long an attempt may take until its response is read to the end: 10 seconds by default.
    ///
    /// A timeout of the request itself takes precedence. A run continues in the service after its client disconnects, so the
    /// next attempt gets its response.
    #[must_use]
    pub const fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Sets the pauses between attempts: random up to `first` after the first attempt, and up to twice as long after each
    /// further one, but never longer than `longest`. Half a second and 30 seconds by default.
    ///
    /// `Retry-After` comes on top.
    #[must_use]
    pub const fn with_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = Backoff { first, longest };
        self
    }

    /// Sets how long the service remembers a key, at least, as it publishes: one hour by default, because services differ.
    ///
    /// An older intent is not sent again, because it could take effect twice. It counts from the intent's beginning, until a
    /// response says more exactly when its key expires, by the service's clock (`Idempotency-Expires` and `Date`). A clock of this
    /// machine that is set makes no intent younger while the process lives. For the intent of an earlier process it could, so
    /// such an intent ends earlier: by a tenth of its time, and by five minutes at most.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how many bytes of a response's body are read at most: 16 MiB by default.
    #[must_use]
    pub const fn with_max_response(mut self, bytes: usize) -> Self {
        self.max_response = bytes;
        self
    }

    /// Compares this field of the requests under an intent, in addition to the URL and the body: with another value it is
    /// [another request](SendError::OtherRequest).
    ///
    /// Name the fields by which the service tells tenants or users apart. `Host` is compared without it, and so are fields with
    /// `account`, `organization`, `tenant` or `workspace` in their names. Do not name one that changes between attempts, such
    /// as a token.
    #[must_use]
    pub fn with_compared_header(mut self, name: HeaderName) -> Self {
        self.compared.push(name);
        self
    }

    /// Sets the clock that decides which intents have expired, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts to build a `POST` to this URL, for [`send`](Self::send).
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.http.post(url)
    }

    /// Starts to build a request, for [`send`](Self::send).
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends the request with the intent's key, as often as it takes, and returns the response that is final.
    ///
    /// Each attempt has the same head and body. Dropping the future loses nothing: the intent is kept, and sending the same
    /// request under it goes on.
    ///
    /// # Errors
    ///
    /// [`SendError`] says what is known, and whether something was sent.
    pub async fn send(
        &self,
        intent: &Intent,
        request: RequestBuilder,
    ) -> Result<Response, SendError> {
        let deadline = after(self.deadline);
        let mut request = RepeatableRequest::new(request)?;
        let form = request.form(&self.compared);
        // A disk may not respond.
        let begin = timeout_at(deadline, intent.begin(form, Moment::now(&self.clock))).await;
        let begun = begin.map_err(|_| intent.timed_out())??;
        let timeout = request.timeout().unwrap_or(self.attempt_timeout);
        if begun.is_earlier {
            self.refuse_expired(&begun.record, timeout)?;
        }
        request.set_key(&begun.record.key);
        // Whether an attempt was sent whose outcome is not known.
        let mut may_have_happened = begun.is_earlier;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let until = after(timeout).min(deadline);
            let (last, retry_after) = match self.attempt(&request, until, attempts).await? {
                Ok((response, is_whole)) => {
                    let retry_after = retry_after::read(response.headers(), self.clock.wall());
                    match Verdict::of(&response) {
                        Verdict::Final if !is_whole => {
                            let status = response.status();
                            self.keep_expiry(intent, begun.record, &response, deadline)
                                .await;
                            return Err(SendError::ResponseTooLong { status });
                        }
                        // A proxy, or a check before the keys, has refused only this attempt.
                        Verdict::Final if may_have_happened && response.is_refusal() => {
                            return Err(SendError::RetryRefused(response.into()));
                        }
                        Verdict::Final => {
                            self.keep_expiry(intent, begun.record, &response, deadline)
                                .await;
                            return Ok(response);
                        }
                        Verdict::Retry => (LastAttempt::Response(response.into()), retry_after),
                        Verdict::InProgress => {
                            (LastAttempt::InProgress(response.into()), retry_after)
                        }
                        Verdict::KeyReused => return Err(SendError::KeyReused(response.into())),
                        Verdict::OutcomeUnknown => {
                            return Err(SendError::OutcomeUnknown(response.into()));
                        }
                        Verdict::ResponseGone => {
                            return Err(SendError::ResponseGone(response.into()));
                        }
                    }
                }
                Err(last) => (last, None),
            };
            may_have_happened |= last.may_have_arrived();
            let pause = self.backoff.pause(attempts, retry_after);
            let left = deadline.saturating_duration_since(Instant::now());
            if attempts >= self.max_attempts || pause >= left {
                return Err(SendError::GaveUp(GaveUp {
                    attempts,
                    retry_after,
                    last,
                }));
            }
            tracing::debug!(
                attempts,
                pause_milliseconds = pause.as_millis(),
                "a request is sent again after a pause"
            );
            sleep(pause).await;
            self.refuse_expired(&begun.record, timeout)?;
        }
    }

    /// A response, and whether it is whole, or how the attempt ended without one.
    async fn attempt(
        &self,
        request: &RepeatableRequest,
        until: Instant,
        attempts: u32,
    ) -> Result<Result<(Response, bool), LastAttempt>, SendError> {
        // The response's times count from before it was made.
        let now = Moment::now(&self.clock);
        let exchange = exchange(&self.http, request.repeat(), self.max_response);
        // The future of an exchange is large.
        match timeout_at(until, Box::pin(exchange)).await {
            Ok(Ok(received)) => {
                let is_whole = received.is_whole;
                Ok(Ok((Response::new(received, now, attempts), is_whole)))
            }
            Ok(Err(Failure::Retryable(error))) => Ok(Err(LastAttempt::NoResponse(error))),
            Ok(Err(Failure::Final(error))) => Err(error),
            Err(_) => Ok(Err(LastAttempt::TimedOut)),
        }
    }

    fn refuse_expired(&self, record: &IntentRecord, timeout: Duration) -> Result<(), SendError> {
        if age::is_safe(record, Moment::now(&self.clock), timeout, self.ttl) {
            Ok(())
        } else {
            Err(SendError::Expired)
        }
    }

    /// A later process then knows when the key expires, even if that is sooner than by its own settings.
    async fn keep_expiry(
        &self,
        intent: &Intent,
        mut record: IntentRecord,
        response: &Response,
        deadline: Instant,
    ) {
        let Some(mut expiry) = response.expiry() else {
            return;
        };
        if !response.has_date() {
            // This machine's clock may be ahead or behind, so the service's date makes no key live longer.
            let by_ttl = record.begun_at.checked_add(self.ttl);
            expiry.expires_at =
                by_ttl.map_or(expiry.expires_at, |by_ttl| by_ttl.min(expiry.expires_at));
        }
        record.expiry = Some(expiry);
        let kept = timeout_at(deadline, intent.keep_expiry(&record)).await;
        if let Err(error) = kept.unwrap_or_else(|_| Err(intent.timed_out())) {
            // The response is there, and must not be lost for this.
            tracing::warn!(
                error = log_text::Causes(&error).to_string(),
                "the expiry of an intent's key was not kept"
            );
        }
    }
}

/// The moment after this time, or a moment that is too far away to matter.
fn after(time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now + time.min(FAR)
}
