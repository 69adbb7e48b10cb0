#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod client_errors;
mod commit;
mod ended;
mod step;
mod value;

#[cfg(feature = "axum")]
use std::time::Duration;
use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    Idempotency,
    engine::{ClaimedRun, NamedBy},
    fingerprint::digest,
    progress::Progress,
    record::RecordId,
    store::transaction::PendingRecord,
};
use commit::CommitState;
use step::Steps;

pub(crate) use ended::Ended;

pub use commit::CommitError;
pub use step::StepError;

/// Information about the current run, and actions in it: an extractor of handlers under `#[idempotent]`, and the argument
/// of work under [`Idempotency::run_with`].
///
/// | | Handlers (feature `axum`) | Work under [`run_with`](Idempotency::run_with) |
/// |---|---|---|
/// | [`attempt`](Self::attempt), [`child_key`](Self::child_key), [`step`](Self::step) | yes | yes |
/// | [`commit`](Self::commit), [`commit_then`](Self::commit_then) | with the response | [misused](CommitError::Misused) |
/// | [`commit_value`](Self::commit_value), [`commit_value_then`](Self::commit_value_then) | misused | with the value |
///
/// ```
/// use axum::http::StatusCode;
/// use idempotency::{Execution, idempotent};
///
/// #[idempotent(ttl_seconds = 3600)]
/// async fn charge(execution: Execution, amount: String) -> (StatusCode, String) {
///     // The provider gets the same key from every attempt at this request, and charges once.
///     let key = execution.child_key("charge");
///     (StatusCode::CREATED, format!("{amount}, charged under {key}"))
/// }
/// ```
///
/// A handler with steps and a commit can return [`axum::response::Result`], whose `?` takes the errors of both and the
/// handler's own.
///
/// Clones share one run. A request without a key has an `Execution` too, and its transactions are committed without a
/// record. A unit test makes one with [`unprotected`](Self::unprotected). In a handler that is not protected, the
/// extractor refuses the request with 500.
#[derive(Clone)]
pub struct Execution(Arc<Shared>);

struct Shared {
    id: RecordId,
    attempt: u32,
    protection: Option<Protection>,
}

/// The state of a run that has a key.
struct Protection {
    idempotency: Idempotency,
    named_by: NamedBy,
    outcome: OutcomeKind,
    entry: PendingRecord,
    /// How long a response is replayed that has no ttl of its own.
    #[cfg(feature = "axum")]
    ttl: Duration,
    is_transactional: bool,
    began: Instant,
    // A plain lock: nothing is awaited under it.
    commit_state: Mutex<CommitState>,
    // Held while the store is called for a step.
    progress: tokio::sync::Mutex<Progress>,
    steps: Steps,
}

/// What the record of a run stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeKind {
    /// The response of a handler.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "there are no handlers")
    )]
    Response,
    /// What the `replay` function of a handler rebuilds the response from.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "there are no handlers")
    )]
    ReplayValue,
    /// The value of work under [`Idempotency::run_with`].
    Value,
}

impl Execution {
    /// Makes a run without a key, for unit tests that call a handler directly.
    ///
    /// ```
    /// use idempotency::{Execution, idempotent};
    ///
    /// #[idempotent]
    /// async fn charge(execution: Execution) -> String {
    ///     format!("attempt {}", execution.attempt())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// assert_eq!(charge(Execution::unprotected()).await, "attempt 1");
    /// # }
    /// ```
    #[must_use]
    pub fn unprotected() -> Self {
        Self(Arc::new(Shared {
            id: RecordId::from_bytes(rand::random()),
            attempt: 1,
            protection: None,
        }))
    }

    /// Makes that of a run that is about to begin, whose record stores an outcome of this kind.
    pub(crate) fn of(claimed: &ClaimedRun, outcome: OutcomeKind) -> Self {
        let entry = claimed.pending_record();
        Self(Arc::new(Shared {
            id: entry.hold.id,
            attempt: claimed.attempt(),
            protection: Some(Protection {
                idempotency: claimed.idempotency().clone(),
                named_by: claimed.named_by(),
                outcome,
                entry,
                #[cfg(feature = "axum")]
                ttl: claimed.ttl(),
                is_transactional: claimed.is_transactional(),
                began: Instant::now(),
                commit_state: Mutex::new(CommitState::Open),
                progress: claimed.progress().into(),
                steps: Steps::default(),
            }),
        }))
    }

    /// What its record stores. Without a key there is no record.
    #[cfg(feature = "axum")]
    pub(crate) fn outcome_kind(&self) -> OutcomeKind {
        let protection = self.0.protection.as_ref();
        protection.map_or(OutcomeKind::Response, |protection| protection.outcome)
    }

    /// The attempt number, starting at 1. It grows when a run takes over from one that crashed, or that failed after a
    /// [`step`](Self::step). In transactional mode it is 1, because such a run leaves no trace.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Derives a key for a call to another service, in the form of a UUID. It is the same on every attempt at this
    /// request, and different for every other name, key, scope and request. A request that reuses the key after its ttl
    /// gets a different child key.
    ///
    /// The other service cannot compute the client's own key from it. Without
    /// [`with_secret`](crate::IdempotencyBuilder::with_secret), an attacker with a copy of the store can derive it too.
    /// Without a key it is random for each request.
    #[must_use]
    pub fn child_key(&self, name: &str) -> String {
        let (id, name) = (self.0.id.as_bytes().as_slice(), name.as_bytes());
        let derived = self.0.protection.as_ref().map(|protection| {
            let fingerprint = &protection.entry.fingerprint;
            let asked = fingerprint.as_bytes().as_slice();
            // A record of an earlier version keeps the child keys of the attempt that created it.
            match fingerprint.version() {
                1 => digest([b"child 1".as_slice(), id, name]),
                2 => digest([b"child 2".as_slice(), id, asked, name]),
                _ => {
                    let secret = protection.idempotency.secret(protection.named_by);
                    digest([b"child 3".as_slice(), &**secret, id, asked, name])
                }
            }
        });
        let digest = derived.unwrap_or_else(|| digest([b"child 1".as_slice(), id, name]));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        // RFC 9562 section 5.8: version 8, whose bits are the implementation's own.
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits =
            |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        format!(
            "{}-{}-{}-{}-{}",
            digits(&bytes[..4]),
            digits(&bytes[4..6]),
            digits(&bytes[6..8]),
            digits(&bytes[8..10]),
            digits(&bytes[10..]),
        )
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Execution")
            .field("record", &self.0.id)
            .field("attempt", &self.0.attempt)
            .finish_non_exhaustive()
    }
}
