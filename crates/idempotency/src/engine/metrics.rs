//! The metrics, with the feature `metrics`. Without it these functions do nothing and these types are empty.
//!
//! Labels are words of closed lists and the names of stores: never a key, a payload, a caller or a response.

#[cfg(feature = "metrics")]
use std::time::Instant;

#[cfg(feature = "metrics")]
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use super::RequestOutcome;
use crate::store::StoreError;
#[cfg(feature = "metrics")]
use crate::store::StoreErrorKind;

/// Whether anything is recorded.
pub(super) const ARE_RECORDED: bool = cfg!(feature = "metrics");

/// How a renewal of a hold has ended.
#[derive(Clone, Copy)]
pub(super) enum Renewal {
    Renewed,
    /// The key was claimed again, whose record the store had lost.
    Reclaimed,
    /// The key is not the run's own any more.
    Lost,
    /// The store has failed.
    Failed,
}

impl Renewal {
    #[cfg(feature = "metrics")]
    const fn name(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Reclaimed => "reclaimed",
            Self::Lost => "lost",
            Self::Failed => "failed",
        }
    }
}

/// Says what each metric is, and begins each counter at zero: an alert on a rate does not see a counter that appears with its
/// first event.
pub(super) fn describe() {
    #[cfg(feature = "metrics")]
    {
        describe_counter!(
            "idempotency_requests_total",
            Unit::Count,
            "Requests to protected handlers, by what became of them"
        );
        for outcome in RequestOutcome::ALL {
            counter!("idempotency_requests_total", "outcome" => outcome.name()).increment(0);
        }
        describe_histogram!(
            "idempotency_handler_duration_seconds",
            Unit::Seconds,
            "Time that a handler takes, with its commit, without the store's calls before and after it"
        );
        describe_histogram!(
            "idempotency_store_duration_seconds",
            Unit::Seconds,
            "Time that one call of the store takes, failed ones included"
        );
        describe_counter!(
            "idempotency_store_errors_total",
            Unit::Count,
            "Calls of the store that failed"
        );
        describe_gauge!(
            "idempotency_running",
            Unit::Count,
            "Handlers that run under a key right now"
        );
        describe_gauge!(
            "idempotency_waiting",
            Unit::Count,
            "Duplicates that wait for the run that has their key"
        );
        gauge!("idempotency_running").increment(0.0);
        gauge!("idempotency_waiting").increment(0.0);
        describe_counter!(
            "idempotency_renewals_total",
            Unit::Count,
            "Renewals of the leases of runs, by their result"
        );
        for renewal in [
            Renewal::Renewed,
            Renewal::Reclaimed,
            Renewal::Lost,
            Renewal::Failed,
        ] {
            counter!("idempotency_renewals_total", "result" => renewal.name()).increment(0);
        }
        describe_counter!(
            "idempotency_take_overs_total",
            Unit::Count,
            "Keys that were taken over from an owner that did not come back"
        );
        counter!("idempotency_take_overs_total").increment(0);
        describe_counter!(
            "idempotency_expired_records_total",
            Unit::Count,
            "Records that have expired and were removed by a sweep"
        );
        counter!("idempotency_expired_records_total").increment(0);
        describe_gauge!(
            "idempotency_live_records",
            Unit::Count,
            "Records in the store after the last sweep; an estimate where they are many"
        );
    }
}

pub(super) fn request(outcome: RequestOutcome) {
    #[cfg(feature = "metrics")]
    counter!("idempotency_requests_total", "outcome" => outcome.name()).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = outcome;
}

pub(super) fn renewal(renewal: Renewal) {
    #[cfg(feature = "metrics")]
    counter!("idempotency_renewals_total", "result" => renewal.name()).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = renewal;
}

pub(super) fn take_over() {
    #[cfg(feature = "metrics")]
    counter!("idempotency_take_overs_total").increment(1);
}

pub(super) fn expired(records: usize) {
    #[cfg(feature = "metrics")]
    counter!("idempotency_expired_records_total").increment(records as u64);
    #[cfg(not(feature = "metrics"))]
    let _ = records;
}

/// Set only once the store is known to count: zero would say that it is empty.
pub(super) fn live(store: &'static str, records: u64) {
    #[cfg(feature = "metrics")]
    gauge!("idempotency_live_records", "store" => store).set(records as f64);
    #[cfg(not(feature = "metrics"))]
    let _ = (store, records);
}

/// A handler that runs. It has ended, or was cut off, when this is dropped.
pub(super) struct Running(#[cfg(feature = "metrics")] Instant);

impl Running {
    pub(super) fn start() -> Self {
        #[cfg(feature = "metrics")]
        gauge!("idempotency_running").increment(1.0);
        Self(
            #[cfg(feature = "metrics")]
            Instant::now(),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        {
            gauge!("idempotency_running").decrement(1.0);
            histogram!("idempotency_handler_duration_seconds").record(self.0.elapsed());
        }
    }
}

/// A duplicate that waits, until this is dropped.
pub(super) struct Waiting;

impl Waiting {
    pub(super) fn start() -> Self {
        #[cfg(feature = "metrics")]
        gauge!("idempotency_waiting").increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        #[cfg(feature = "metrics")]
        gauge!("idempotency_waiting").decrement(1.0);
    }
}

/// A call of a store. One that is dropped before its end is not measured: how long it would have taken is not known.
pub(super) struct StoreCall(#[cfg(feature = "metrics")] Instant);

impl StoreCall {
    pub(super) fn start() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            Instant::now(),
        )
    }

    pub(super) fn end<T>(self, store: &'static str, response: &Result<T, StoreError>) {
        #[cfg(feature = "metrics")]
        {
            histogram!("idempotency_store_duration_seconds", "store" => store)
                .record(self.0.elapsed());
            if let Err(error) = response {
                let kind = kind(error.kind());
                counter!("idempotency_store_errors_total", "store" => store, "kind" => kind)
                    .increment(1);
            }
        }
        #[cfg(not(feature = "metrics"))]
        let _ = (store, response);
    }
}

#[cfg(feature = "metrics")]
const fn kind(kind: StoreErrorKind) -> &'static str {
    match kind {
        StoreErrorKind::Unavailable => "unavailable",
        StoreErrorKind::Unreadable => "unreadable",
        StoreErrorKind::Full => "full",
        StoreErrorKind::ScopeFull => "scope_full",
        StoreErrorKind::Withdrawn => "withdrawn",
        StoreErrorKind::TooLarge => "too_large",
    }
}
