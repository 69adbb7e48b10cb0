//! The contract of a [`Store`], as functions that panic where it is broken.
//!
//! Every store of this library runs them, and so can yours, by one line in a test:
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
//! [`conformance_tests!`](crate::conformance_tests) makes a test of each function, so that one that fails has a name, and they run
//! beside each other. [`all`] runs them one after the other.
//!
//! Each function gets a store of its own, on whose records nobody else works. Races are run, not imagined. Where time has to
//! pass they call `advance`; a store whose clock is a server's can only sleep there, for [`LEASE`] or [`TTL`] at a time.
//!
//! Not covered by semver: functions are added in minor releases.

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
pub mod suspension;
pub mod time;
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
    Claim, ClaimRequest, Fingerprint, Hold, IfOwner, ListRequest, OnLost, Record, RecordId, Store,
    Token,
};

/// Makes this much time pass for the store.
pub type Advance<'a> = dyn Fn(Duration) + Send + Sync + 'a;

/// The lease of the holds in here.
pub const LEASE: Duration = Duration::from_secs(3);

/// Their ttl.
pub const TTL: Duration = Duration::from_secs(6);

/// How far before and behind a boundary they look: enough for a clock that goes on by itself.
const MARGIN: Duration = Duration::from_secs(1);

/// How many callers want the same key at one time.
const CROWD: usize = 50;

/// A store of its own for one test, and how time passes for it.
#[non_exhaustive]
pub struct TestStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Lets time pass for it.
    pub advance: Box<Advance<'static>>,
}

impl TestStore {
    /// This store, for which `advance` lets time pass: it moves a clock, or is [`std::thread::sleep`].
    ///
    /// What the store needs for as long as it is used, such as a folder, `advance` may own.
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
/// Not those of [`shares`], which want a store with a limit, nor
/// [`an_end_in_this_process_wakes_at_once`](waiting::an_end_in_this_process_wakes_at_once).
pub async fn all(open: impl AsyncFn() -> TestStore) {
    crate::__contract!(contract: run_each, open);
}

/// The store of one test; none is said past the capture of the test harness, which shows no output of tests that pass.
#[doc(hidden)]
pub async fn opened<T: Into<Option<TestStore>>>(
    open: impl AsyncFn() -> T,
    test: &str,
) -> Option<TestStore> {
    let opened = open().await.into();
    if opened.is_none() {
        let message = format!("\n*** SKIPPED: {test}: there is no store to test\n");
        // A test that cannot say so is skipped all the same.
        drop(io::stderr().write_all(message.as_bytes()));
    }
    opened
}

/// A hold on a key that nobody has used.
fn new_hold() -> Hold {
    let mut id = [0; 32];
    id[..16].copy_from_slice(Token::random().as_bytes());
    id[16..].copy_from_slice(Token::random().as_bytes());
    hold_on(RecordId::from_bytes(id))
}

/// What another request, or another attempt, would hold.
fn hold_on(id: RecordId) -> Hold {
    Hold::new(id, Token::random(), LEASE, TTL)
}

fn request(content: &str) -> Fingerprint {
    Fingerprint::of([content.as_bytes()])
}

/// A key that this request has just taken.
async fn taken(store: &Arc<dyn Store>, fingerprint: &Fingerprint) -> Hold {
    let hold = new_hold();
    assert_eq!(claim(store, &hold, fingerprint).await, won(1));
    hold
}

/// A key whose request has left this outcome.
async fn completed(store: &Arc<dyn Store>, fingerprint: &Fingerprint, outcome: &[u8]) -> Hold {
    let hold = taken(store, fingerprint).await;
    let completed = store
        .complete(&hold, Bytes::copy_from_slice(outcome))
        .await
        .expect("a completion");
    assert!(matches!(completed, IfOwner::Done(_)), "{completed:?}");
    hold
}

/// What a claim gets that takes over what has lapsed.
async fn claim(store: &Arc<dyn Store>, hold: &Hold, fingerprint: &Fingerprint) -> Claim {
    let claim = store
        .claim(ClaimRequest::new(hold, fingerprint, OnLost::TakeOver))
        .await;
    claim.expect("a claim")
}

/// A claim that is won as this attempt, with nothing left by the one before.
const fn won(attempt: u32) -> Claim {
    Claim::Won {
        attempt,
        progress: Bytes::new(),
    }
}

async fn inspect(store: &Arc<dyn Store>, id: &RecordId) -> Option<Record> {
    store.inspect(id).await.expect("an inspection")
}

/// A page of records that can all be read.
async fn list(store: &Arc<dyn Store>, after: Option<&RecordId>, limit: usize) -> Vec<Record> {
    let mut request = ListRequest::new(limit);
    request.after = after.copied();
    let listed = store.list(&request).await.expect("a page");
    let records = listed.into_iter().map(|listed| listed.record);
    records.map(|record| record.expect("a record")).collect()
}

/// The claims of a crowd on one key, all sent at one time, with the hold that each of them asked for.
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

/// The one of a crowd that won, as this attempt; all others must have been told who did.
#[track_caller]
fn only_winner(claims: Vec<(Hold, Claim)>, attempt: u32, fingerprint: Fingerprint) -> Hold {
    let (won, lost): (Vec<_>, Vec<_>) = claims
        .into_iter()
        .partition(|(_, claim)| *claim == won(attempt));
    for (_, claim) in lost {
        assert_eq!(claim, Claim::InFlight { fingerprint });
    }
    assert_eq!(won.len(), 1, "one wins");
    won.into_iter().map(|(hold, _)| hold).next().expect("one")
}
