//! What a store finds when it is asked what would go wrong.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::timeout;

use super::{Claim, ClaimRequest, Hold, IfOwner, OnLost, Store, StoreError};
use crate::{
    Fingerprint,
    log_text::Causes,
    record::{RecordId, Token},
};

/// What [`Store::verify`] found, in the order of the checks.
///
/// ```
/// use idempotency::{Idempotency, MemoryStore, store::Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let verification = Idempotency::new(MemoryStore::new()).verify().await;
/// for finding in &verification.findings {
///     println!("{finding}");
/// }
/// assert_ne!(verification.verdict(), Verdict::Problem);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Verification {
    /// One for each check that was made. What could not be checked, such as a setting that the server does not report, has none.
    pub findings: Vec<Finding>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was checked, such as `writable`: a short text that does not change, for programs.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, for people.
    pub found: String,
    /// What to change, if something should be.
    pub advice: Option<&'static str>,
}

/// How bad a finding is. The worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// It is as it should be.
    Ok,
    /// The store works, and may break a promise when something else fails.
    Warning,
    /// Requests fail, or are not protected.
    Problem,
}

/// How long the steps may take together. A store gives up on one of them within a few seconds.
const STEPS_TIMEOUT: Duration = Duration::from_secs(15);

/// The lease of the key that is claimed. If it is not released, it is gone after this.
const LEASE: Duration = Duration::from_secs(5);

/// By how much the store's clock may differ from this machine's. Certificates and tokens of other services fail at minutes.
const MAX_SKEW: Duration = Duration::from_secs(10);

impl Verification {
    /// A verification that has found nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Claims a key that no request can have, takes each step that the owner of a hold takes, and releases it.
    ///
    /// This is what [`Store::verify`] does for a store that has no checks of its own. It leaves no record: if the store
    /// fails in between, the key is free after five seconds.
    pub async fn of_steps<S: Store + ?Sized>(store: &S) -> Self {
        let mut verification = Self::new();
        verification.add_steps(store).await;
        verification
    }

    /// Adds the findings of [`of_steps`](Self::of_steps).
    pub async fn add_steps<S: Store + ?Sized>(&mut self, store: &S) {
        const CHECK: &str = "writable";
        match timeout(STEPS_TIMEOUT, steps(store)).await {
            Ok(Ok(())) => self.ok(CHECK, "a key was claimed, renewed and released"),
            Ok(Err((step, error))) => self.problem(
                CHECK,
                format!("the store did not {step} a key: {}", Causes(&error)),
                "every request with a key is refused until this is mended",
            ),
            Err(_) => self.problem(
                CHECK,
                "the store did not respond in time",
                "every request with a key is refused until this is mended",
            ),
        }
    }

    /// Adds a finding that is as it should be.
    pub fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.add(check, Verdict::Ok, found, None);
    }

    /// Adds a finding that may break a promise when something else fails.
    pub fn warning(&mut self, check: &'static str, found: impl Into<String>, advice: &'static str) {
        self.add(check, Verdict::Warning, found, Some(advice));
    }

    /// Adds a finding for which requests fail, or are not protected.
    pub fn problem(&mut self, check: &'static str, found: impl Into<String>, advice: &'static str) {
        self.add(check, Verdict::Problem, found, Some(advice));
    }

    /// Adds whether the store's clock, read between these two times of this machine, agrees with it.
    pub fn clock(&mut self, before: SystemTime, stores: SystemTime, after: SystemTime) {
        const CHECK: &str = "clock";
        let ahead = stores.duration_since(after).unwrap_or_default();
        let behind = before.duration_since(stores).unwrap_or_default();
        let (skew, word) = if ahead > behind {
            (ahead, "ahead of")
        } else {
            (behind, "behind")
        };
        if skew <= MAX_SKEW {
            self.ok(CHECK, "the store's clock agrees with this machine's");
        } else {
            self.warning(
                CHECK,
                format!(
                    "the store's clock is {} seconds {word} this machine's",
                    skew.as_secs()
                ),
                "synchronise both clocks: keys follow the store's, and logs and the expiry of tokens this machine's",
            );
        }
    }

    /// The worst verdict; [`Verdict::Ok`] if there are no findings.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.findings.iter().map(|finding| finding.verdict);
        verdicts.max().unwrap_or(Verdict::Ok)
    }

    fn add(
        &mut self,
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        advice: Option<&'static str>,
    ) {
        self.findings.push(Finding {
            check,
            verdict,
            found: found.into(),
            advice,
        });
    }
}

impl Verdict {
    /// `ok`, `warning` or `problem`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            check,
            verdict,
            found,
            advice,
        } = self;
        write!(formatter, "{verdict}: {check}: {found}")?;
        match advice {
            Some(advice) => write!(formatter, "; {advice}"),
            None => Ok(()),
        }
    }
}

/// The step that failed, and how.
type Failed = (&'static str, StoreError);

async fn steps<S: Store + ?Sized>(store: &S) -> Result<(), Failed> {
    let (token, mut id) = (Token::random(), [0; 32]);
    // No digest of a request, so no request waits for it.
    id[..16].copy_from_slice(Token::random().as_bytes());
    id[16..].copy_from_slice(Token::random().as_bytes());
    // Without a ttl the record ends with its lease.
    let hold = Hold::new(RecordId::from_bytes(id), token, LEASE, Duration::ZERO);
    let asked = Fingerprint::of([b"verify".as_slice()]);
    let claim = ClaimRequest::new(&hold, &asked, OnLost::TakeOver);
    let claimed = store.claim(claim).await;
    if !matches!(
        claimed.map_err(|error| ("claim", error))?,
        Claim::Won { .. }
    ) {
        return Err(("claim", not_owner()));
    }
    let held = own(store, &hold).await;
    let released = store.release(&hold).await;
    held?;
    done("release", released)
}

/// What an owner does with its hold.
async fn own<S: Store + ?Sized>(store: &S, hold: &Hold) -> Result<(), Failed> {
    done("renew", store.renew(hold).await)?;
    let progress = Bytes::from_static(b"verify");
    done("write to", store.checkpoint(hold, progress).await)?;
    let found = store.inspect(&hold.id).await;
    match found.map_err(|error| ("read", error))? {
        Some(record) if record.token == hold.token => Ok(()),
        _ => Err(("read", not_owner())),
    }
}

fn done(step: &'static str, done: Result<IfOwner<()>, StoreError>) -> Result<(), Failed> {
    match done {
        Ok(IfOwner::Done(())) => Ok(()),
        Ok(IfOwner::NotOwner) => Err((step, not_owner())),
        Err(error) => Err((step, error)),
    }
}

fn not_owner() -> StoreError {
    StoreError::unavailable("it does not have the key that was just claimed")
}
