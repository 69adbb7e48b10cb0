//! Failures that clients inject, to test their retries.

use std::{str::FromStr, sync::Arc, time::Duration};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, StatusCode, request::Parts},
};

use crate::{app::App, error::ApiError, supervised::Supervised};

/// The failures that the request's header fields ask for: none unless the service has `--fault-injection`.
///
/// Header fields are not part of a request's fingerprint, so a retry may leave them out.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    delay: Option<Duration>,
    panic: bool,
    status: Option<StatusCode>,
    crash: Option<Crash>,
}

/// A crash of the whole service.
#[derive(Debug)]
struct Crash {
    moment: Moment,
    supervised: Arc<Supervised>,
}

#[derive(Debug, PartialEq, Eq)]
enum Moment {
    /// Before anything is written.
    BeforeCommit,
    /// After the booking is written, before its client has a response.
    AfterCommit,
}

/// The longest delay, ten minutes: enough to watch a lease expire.
const MAX_DELAY_MS: u64 = 600_000;

impl Faults {
    /// Delays the request, crashes, panics, or fails with a status, in this order.
    pub(crate) async fn inject(&self) -> Result<(), ApiError> {
        if let Some(delay) = self.delay {
            tracing::warn!(milliseconds = delay.as_millis(), "injected a delay");
            tokio::time::sleep(delay).await;
        }
        self.crash_at(&Moment::BeforeCommit);
        if self.panic {
            panic!("injected by X-Fault-Panic");
        }
        match self.status {
            Some(status) => Err(ApiError::Injected(status)),
            None => Ok(()),
        }
    }

    /// Crashes if the request asked for a crash after the commit: the work is done, and its client has no response.
    pub(crate) fn inject_after(&self) {
        self.crash_at(&Moment::AfterCommit);
    }

    fn crash_at(&self, moment: &Moment) {
        if let Some(crash) = self.crash.as_ref().filter(|crash| crash.moment == *moment) {
            tracing::warn!("injected a crash");
            crash.supervised.crash();
        }
    }

    fn read(headers: &HeaderMap, supervised: Option<&Arc<Supervised>>) -> Result<Self, ApiError> {
        let delay = one(headers, "x-fault-delay-ms", |&ms: &u64| ms <= MAX_DELAY_MS)
            .ok_or("X-Fault-Delay-Ms takes one whole number of milliseconds, at most 600000.");
        let status = one(headers, "x-fault-status", |status: &StatusCode| {
            status.is_client_error() || status.is_server_error()
        })
        .ok_or("X-Fault-Status takes one status from 400 to 599.");
        let panic = one(headers, "x-fault-panic", |&one: &u8| one == 1)
            .ok_or("X-Fault-Panic takes 1 only.");
        let moment = one(headers, "x-fault-crash", |_: &Moment| true)
            .ok_or("X-Fault-Crash takes before-commit or after-commit.");
        let malformed = |detail: &'static str| ApiError::Malformed(detail.into());
        let crash = match (moment.map_err(malformed)?, supervised) {
            (None, _) => None,
            (Some(moment), Some(supervised)) => Some(Crash {
                moment,
                supervised: Arc::clone(supervised),
            }),
            (Some(_), None) => {
                return Err(malformed(
                    "X-Fault-Crash needs the supervisor of the program core-api, which would start the service again.",
                ));
            }
        };
        Ok(Self {
            delay: delay.map_err(malformed)?.map(Duration::from_millis),
            panic: panic.map_err(malformed)?.is_some(),
            status: status.map_err(malformed)?,
            crash,
        })
    }
}

impl FromRequestParts<App> for Faults {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if app.fault_injection {
            Self::read(&parts.headers, app.supervised.as_ref())
        } else {
            Ok(Self::default())
        }
    }
}

impl FromStr for Moment {
    type Err = ();

    fn from_str(moment: &str) -> Result<Self, ()> {
        match moment {
            "before-commit" => Ok(Self::BeforeCommit),
            "after-commit" => Ok(Self::AfterCommit),
            _ => Err(()),
        }
    }
}

/// The field's value, if it is present; `None` if it is repeated or not valid.
fn one<T: FromStr>(
    headers: &HeaderMap,
    name: &str,
    usable: impl FnOnce(&T) -> bool,
) -> Option<Option<T>> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else {
        return Some(None);
    };
    let value = line.to_str().ok()?.parse().ok()?;
    (usable(&value) && lines.next().is_none()).then_some(Some(value))
}
