//! What is counted and measured, as the recorder of an application sees it.

#[path = "../support/delegate.rs"]
pub mod delegate;
mod http;
mod runs;

use std::collections::BTreeMap;

use metrics::Label;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// A recorder for the test's own thread, on which its runtime does everything.
struct Recorded {
    snapshotter: Snapshotter,
    recorder: Box<DebuggingRecorder>,
}

impl Recorded {
    fn new() -> Self {
        let recorder = Box::new(DebuggingRecorder::new());
        Self {
            snapshotter: recorder.snapshotter(),
            recorder,
        }
    }

    /// Every metric that is not zero since the last call, by its name and the values of its labels.
    fn next(&self) -> BTreeMap<String, f64> {
        let metrics = self.snapshotter.snapshot().into_vec().into_iter();
        metrics
            .map(|(key, _, _, value)| {
                let (name, labels) = key.key().clone().into_parts();
                let labels: String = labels
                    .iter()
                    .map(Label::value)
                    .flat_map(|value| [" ", value])
                    .collect();
                let value = match value {
                    DebugValue::Counter(count) => count as f64,
                    DebugValue::Gauge(value) => value.0,
                    DebugValue::Histogram(samples) => samples.len() as f64,
                };
                (format!("{}{labels}", name.as_str()), value)
            })
            .filter(|(_, value)| *value != 0.0)
            .collect()
    }

    /// What requests have come to since the last call.
    fn outcomes(&self) -> Vec<(String, f64)> {
        let requests = self.next().into_iter();
        requests
            .filter_map(|(name, count)| {
                let outcome = name.strip_prefix("idempotency_requests_total ")?;
                Some((outcome.to_owned(), count))
            })
            .collect()
    }

    /// One request has been counted, and once, as this.
    #[track_caller]
    fn assert_one(&self, outcome: &str) {
        assert_eq!(self.outcomes(), [(outcome.to_owned(), 1.0)]);
    }
}
