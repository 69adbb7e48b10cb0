//! The contract of a [`Store`], as functions that panic if it is broken.
//!
//! Every store of this library runs them. Yours can too, by one line in a test:
//!
//! ```
//! # struct MyStore;
//! # impl MyStore {
//! #     fn with_clock(clock: idempotency::Clock) -> idempotency::MemoryStore {
//! #         idempotency::MemoryStore::new().with_clock(clock)
//! #     }
//! # }
//! use idempotency::{Clock, conformance::TestStore, conformance_tests};
//!
//! async fn open() -> TestStore {
//!     let clock = Clock::manual();
//!     let store = MyStore::with_clock(clock.clone());
//!     TestStore::new(store, move |time| clock.advance(time))
//! }
//!
//! conformance_tests!(open);
//! ```
//!
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each function, so that a failure has a name. The
//! tests run concurrently. [`all`] runs the functions one after the other.
//!
//! Each function gets a store of its own, whose records no other caller uses. Races are run with real concurrency. When
//! time has to pass, the functions call `advance`; for a store with a server's clock it can only sleep, for [`LEASE`]
//! or [`TTL`] at a time.
//!
//! Not covered by semver: functions are added in minor releases.
#![doc = ""]
#![doc = include_str!("docs/contract.md")]

pub mod at_once;
pub mod claims;
mod contract;
pub mod corrections;
pub mod fencing;
pub mod labels;
pub mod lost;
pub mod operators;
pub mod progress;
pub mod renewal;
pub mod shares;
pub mod spent;
pub mod suspension;
pub mod time;
pub mod verified;
pub mod waiting;
pub mod withdrawal;
pub mod wrapping;

use std::{
    fmt,
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Barrier, task::JoinSet};

use crate::{
    Fingerprint, OnLost, Store,
    record::{Record, RecordId, Token},
    store::{Claim, ClaimRequest, Hold, IfOwner, ListRequest},
};

/// Makes this much time pass for the store.
pub type Advance<'a> = dyn Fn(Duration) + Send + Sync + 'a;

/// The lease of the functions' holds.
pub const LEASE: Duration = Duration::from_secs(3);

/// The ttl of the functions' holds.
pub const TTL: Duration = Duration::from_secs(6);

/// How far before and after a boundary the functions check: enough for a clock that goes on by itself.
const MARGIN: Duration = Duration::from_secs(1);

/// How many callers want the same key concurrently.
const CROWD: usize = 50;

/// A store of its own for one test, and a way to let time pass for it.
#[non_exhaustive]
pub struct TestStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Lets time pass for the store.
    pub advance: Box<Advance<'static>>,
}

impl TestStore {
    /// A test store; `advance` lets time pass for it, by moving a clock or by [`std::thread::sleep`].
    ///
    /// `advance` may own what the store needs for as long as it is used, such as a folder.
    pub fn new(store: impl Store, advance: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        Self {
            store: Arc::new(store),
            advance: Box::new(advance),
        }
    }
}

impl fmt::Debug for TestStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TestStore")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Runs every function of the contract, each on a store that `open` makes.
///
/// It leaves out the functions of [`shares`], which need a store with a limit, and
/// [`an_end_in_this_process_wakes_at_once`](waiting::an_end_in_this_process_wakes_at_once).
pub async fn all(open: impl AsyncFn() -> TestStore) {
    crate::__contract!(contract: run_each, open);
}

/// The store of one test. A missing store is reported past the test harness, which hides the output of tests that pass.
#[doc(hidden)]
pub async fn opened<T: Into<Option<TestStore>>>(
    open: impl AsyncFn() -> T,
    test: &str,
) -> Option<TestStore> {
    let opened = open().await.into();
    if opened.is_none() {
        let message = format!("\n*** SKIPPED: {test}: there is no store to test\n");
        // A test that cannot report this is skipped all the same.
        drop(io::stderr().write_all(message.as_bytes()));
    }
    opened
}

/// A hold on an unused key.
fn new_hold() -> Hold {
    let mut id = [0; 32];
    id[..16].copy_from_slice(Token::random().as_bytes());
    id[16..].copy_from_slice(Token::random().as_bytes());
    hold_on(RecordId::from_bytes(id))
}

/// The hold of another request, or another attempt.
fn hold_on(id: RecordId) -> Hold {
    Hold::new(id, Token::random(), LEASE, TTL)
}

fn request(content: &str) -> Fingerprint {
    Fingerprint::of([content.as_bytes()])
}

/// A key that this request has just claimed.
async fn taken(store: &Arc<dyn Store>, fingerprint: &Fingerprint) -> Hold {
    let hold = new_hold();
    assert_eq!(claim(store, &hold, fingerprint).await, won(1));
    hold
}

/// A key whose request has stored this outcome.
async fn completed(store: &Arc<dyn Store>, fingerprint: &Fingerprint, outcome: &[u8]) -> Hold {
    let hold = taken(store, fingerprint).await;
    let completed = store
        .complete(&hold, Bytes::copy_from_slice(outcome))
        .await
        .expect("a completion");
    assert!(matches!(completed, IfOwner::Done(_)), "{completed:?}");
    hold
}

/// The result of a claim that may take over a lapsed hold.
async fn claim(store: &Arc<dyn Store>, hold: &Hold, fingerprint: &Fingerprint) -> Claim {
    let claim = store
        .claim(ClaimRequest::new(hold, fingerprint, OnLost::TakeOver))
        .await;
    claim.expect("a claim")
}

/// A claim that is won as this attempt, without progress of the previous one.
const fn won(attempt: u32) -> Claim {
    Claim::Won {
        attempt,
        progress: Bytes::new(),
    }
}

async fn inspect(store: &Arc<dyn Store>, id: &RecordId) -> Option<Record> {
    store.inspect(id).await.expect("an inspection")
}

/// A page of records, none of them unreadable.
async fn list(store: &Arc<dyn Store>, after: Option<&RecordId>, limit: usize) -> Vec<Record> {
    let mut request = ListRequest::new(limit);
    request.after = after.copied();
    let listed = store.list(&request).await.expect("a page");
    let records = listed.into_iter().map(|listed| listed.record);
    records.map(|record| record.expect("a record")).collect()
}

/// The concurrent claims of a crowd on one key, with the hold of each.
async fn rush(
    store: &Arc<dyn Store>,
    id: RecordId,
    fingerprint: Fingerprint,
    on_lost: OnLost,
) -> Vec<(Hold, Claim)> {
    let start = Arc::new(Barrier::new(CROWD));
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let (store, start) = (Arc::clone(store), Arc::clone(&start));
        crowd.spawn(async move {
            let hold = hold_on(id);
            start.wait().await;
            let claim = store
                .claim(ClaimRequest::new(&hold, &fingerprint, on_lost))
                .await;
            (hold, claim.expect("a claim"))
        });
    }
    crowd.join_all().await
}

/// The one of a crowd that won, as this attempt; all others must have learned who did.
#[track_caller]
fn only_winner(claims: Vec<(Hold, Claim)>, attempt: u32, fingerprint: Fingerprint) -> Hold {
    let (won, lost): (Vec<_>, Vec<_>) = claims
        .into_iter()
        .partition(|(_, claim)| *claim == won(attempt));
    for (_, claim) in lost {
        assert_eq!(claim, Claim::InFlight { fingerprint });
    }
    assert_eq!(won.len(), 1, "exactly one claim wins");
    won.into_iter().map(|(hold, _)| hold).next().expect("one")
}
