//! Steps of one kind that go to a server in one call of their script.

use std::{sync::Arc, sync::LazyLock, time::Duration};

use parking_lot::Mutex;
use redis::{RedisError, Value};
use tokio::time::{Instant, timeout_at};

use super::{
    NAME,
    error::{failure, says},
    link::{Failure, Link, Sent as Way},
    script::{self, Script, Step},
    server::STEP_WITHIN,
};
use crate::{
    log_text::Causes,
    store::{
        StoreError,
        lane::{self, Lane, Sent, Together},
    },
};

/// The kinds of steps that go together. Each recognises its own effect, so one of which it is not known whether it was taken can
/// go again.
pub(super) struct Lanes {
    refusal: Arc<Refusal>,
    pub(super) claims: Lane<Calls>,
    pub(super) completions: Lane<Calls>,
    pub(super) looks: Lane<Calls>,
}

pub(super) struct Calls {
    link: Arc<Link>,
    refusal: Arc<Refusal>,
    script: &'static LazyLock<Script>,
}

/// When the server last refused a call because of the keys that it had together.
#[derive(Default)]
struct Refusal(Mutex<Option<Instant>>);

/// What has become of a step before it goes alone.
pub(super) struct Attempt {
    pub(super) deadline: Instant,
    /// Whether it may have been taken.
    pub(super) repeated: bool,
}

/// Why a call for several keys has no replies.
pub(super) enum Apart {
    /// It has a reply that says so: the step was not taken.
    Undone,
    /// Those before a command that failed were taken, or the connection broke.
    Unknown,
    /// The steps alone would fail too.
    Failed(StoreError),
}

/// What a server says that takes no steps for now. Nothing was done.
const STATES: [&str; 4] = ["BUSY", "LOADING", "MISCONF", "NOAUTH"];

/// What a server says that may take each key, but not these together: a proxy in front of a cluster, or a server whose user has a right to
/// some of the keys.
const REFUSALS: [&str; 2] = ["CROSSSLOT", "NOPERM"];

/// How long all steps go alone after such a refusal. Then one call shows whether the server still refuses.
const ALONE_FOR: Duration = Duration::from_secs(60);

impl Lanes {
    pub(super) fn new(link: &Arc<Link>) -> Self {
        let refusal = Arc::<Refusal>::default();
        let lane = |script| {
            Lane::new(Calls {
                link: Arc::clone(link),
                refusal: Arc::clone(&refusal),
                script,
            })
        };
        Self {
            claims: lane(&script::CLAIM),
            completions: lane(&script::COMPLETE),
            looks: lane(&script::FIND),
            refusal,
        }
    }

    /// Whether the server takes calls for several keys, as far as is known.
    pub(super) fn are_open(&self) -> bool {
        let refused = *self.refusal.0.lock();
        refused.is_none_or(|at| at.elapsed() >= ALONE_FOR)
    }
}

impl Together for Calls {
    /// Calls to a distant server are spread over its round trip, so a step waits for about a quarter of one.
    const TURNS: usize = 4;

    type Step = Step;
    type Done = Value;
    type Attempt = Attempt;

    fn bytes(step: &Step) -> usize {
        step.bytes()
    }

    async fn send(&self, steps: &[Step], deadline: Instant, _: Duration) -> Sent<Self> {
        let replies = match timeout_at(deadline, self.call(steps)).await {
            Ok(Ok(Value::Array(replies))) if replies.len() == steps.len() => replies,
            Ok(Err(failed)) => return Err(self.apart(failed)),
            // A reply of another form, or none before the last caller has left.
            Ok(Ok(_)) | Err(_) => return Err(Apart::Unknown),
        };
        let done = |reply| (!is_alone(&reply)).then_some(Ok(reply));
        Ok(replies.into_iter().map(done).collect())
    }
}

impl Calls {
    async fn call(&self, steps: &[Step]) -> Result<Value, Failure> {
        let mut repeated = false;
        let by_digest = self.script.by_digest(steps);
        let called = match self.link.send(Way::Plain(&by_digest), &mut repeated).await {
            Err(Failure::Refused(error)) if says(&error, "NOSCRIPT") => {
                let in_full = self.script.in_full(steps);
                self.link.send(Way::Plain(&in_full), &mut repeated).await
            }
            called => called,
        };
        match called {
            // This one was not sent, but an earlier one was.
            Err(Failure::Unconnected(error)) if repeated => Err(Failure::Broken(error)),
            called => called,
        }
    }

    fn apart(&self, failed: Failure) -> Apart {
        let is_one_of =
            |error: &RedisError, codes: &[&str]| codes.iter().any(|code| says(error, code));
        match failed {
            Failure::Unconnected(error) => Apart::Failed(failure(error)),
            // Each of them would wait as long for the same server.
            Failure::Broken(error) if error.is_timeout() => Apart::Failed(failure(error)),
            // It is the server's state, whatever the step.
            Failure::Refused(error) if is_one_of(&error, &STATES) => Apart::Failed(failure(error)),
            Failure::Broken(error) | Failure::Refused(error) => {
                if is_one_of(&error, &REFUSALS) {
                    *self.refusal.0.lock() = Some(Instant::now());
                }
                note(error);
                Apart::Unknown
            }
        }
    }
}

fn note(error: RedisError) {
    tracing::debug!(
        error = %Causes(&failure(error)),
        "a call for several keys failed in Redis; each of them goes alone"
    );
}

/// Whether the step was left out, because the replies would have been too long together.
fn is_alone(reply: &Value) -> bool {
    matches!(reply, Value::Array(parts) if matches!(&parts[..], [Value::BulkString(word)] if word == b"alone"))
}

impl lane::Attempt for Attempt {
    type Apart = Apart;

    fn first() -> Self {
        Self {
            deadline: Instant::now() + STEP_WITHIN,
            repeated: false,
        }
    }

    fn deadline(&self) -> Instant {
        self.deadline
    }

    fn together(mut self, apart: Apart) -> Result<Self, StoreError> {
        match apart {
            Apart::Undone => {}
            Apart::Unknown => self.repeated = true,
            Apart::Failed(error) => return Err(error),
        }
        Ok(self)
    }

    fn silence() -> StoreError {
        let seconds = STEP_WITHIN.as_secs();
        StoreError::unavailable(format!("no reply within {seconds} seconds")).with_store(NAME)
    }
}

impl lane::Apart for Apart {
    fn undone() -> Self {
        Self::Undone
    }

    fn lost(_: String) -> Self {
        Self::Unknown
    }

    fn for_one(&self) -> Self {
        match self {
            Self::Undone => Self::Undone,
            Self::Unknown => Self::Unknown,
            Self::Failed(error) => Self::Failed(error.repeated()),
        }
    }
}
