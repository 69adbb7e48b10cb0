//! The cost of each step of the memory store, with 100,000 other keys: `cargo bench -p idempotency --bench memory`.

use std::time::Duration;

use bytes::Bytes;
use divan::{Bencher, black_box};
use futures_util::FutureExt;
use idempotency::{
    Clock, Fingerprint, MemoryStore, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, RecordId, ScopeId, Token},
};

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(3600);
const OTHER_KEYS: u64 = 100_000;

fn main() {
    divan::main();
}

/// A store with a clock of its own, and what the next hold is made of.
struct Keys {
    store: MemoryStore,
    clock: Clock,
    fingerprint: Fingerprint,
    outcome: Bytes,
}

impl Keys {
    fn new() -> Self {
        let clock = Clock::manual();
        let keys = Self {
            store: MemoryStore::new().with_clock(clock.clone()),
            clock,
            fingerprint: Fingerprint::of([b"book".as_slice()]),
            outcome: Bytes::from_static(&[b'a'; 200]),
        };
        for _ in 0..OTHER_KEYS {
            keys.completed();
        }
        keys
    }

    /// The hold of a new key.
    fn hold(&self) -> Hold {
        let id = rand::random();
        Hold::new(RecordId::from_bytes(id), Token::random(), LEASE, TTL)
            .with_scope(ScopeId::from_bytes([id[0] % 4; 8]))
    }

    fn claim(&self, hold: &Hold) -> Claim {
        let request = ClaimRequest::new(hold, &self.fingerprint, OnLost::TakeOver);
        let claim = self.store.claim(request).now_or_never();
        claim.expect("memory does not wait").expect("there is room")
    }

    fn claimed(&self) -> Hold {
        let hold = self.hold();
        self.claim(&hold);
        hold
    }

    fn complete(&self, hold: &Hold) {
        let completed = self.store.complete(hold, self.outcome.clone());
        black_box(completed.now_or_never());
    }

    fn completed(&self) -> Hold {
        let hold = self.claimed();
        self.complete(&hold);
        hold
    }

    fn release(&self, hold: &Hold) {
        black_box(self.store.release(hold).now_or_never());
    }
}

#[divan::bench]
fn claim_and_complete(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let holds = bencher.with_inputs(|| keys.hold());
    holds.bench_local_values(|hold| {
        keys.claim(&hold);
        keys.complete(&hold);
    });
}

#[divan::bench]
fn claim_and_release(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let holds = bencher.with_inputs(|| keys.hold());
    holds.bench_local_values(|hold| {
        keys.claim(&hold);
        keys.release(&hold);
    });
}

#[divan::bench]
fn claim_again_and_release_the_same_key(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let id = keys.hold().id;
    let holds = bencher.with_inputs(|| Hold::new(id, Token::random(), LEASE, TTL));
    holds.bench_local_values(|hold| {
        keys.claim(&hold);
        keys.release(&hold);
    });
}

#[divan::bench]
fn replay(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let done: Vec<_> = (0..1000).map(|_| keys.completed().id).collect();
    let mut retried = done.iter().cycle();
    let holds = bencher.with_inputs(|| {
        let id = *retried.next().expect("a cycle has no end");
        Hold::new(id, Token::random(), LEASE, TTL)
    });
    holds.bench_local_refs(|hold| keys.claim(hold));
}

#[divan::bench]
fn claim_of_a_held_key(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let held = keys.claimed().with_token(Token::random());
    bencher.bench_local(|| keys.claim(black_box(&held)));
}

#[divan::bench]
fn renewal(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let held = keys.claimed();
    bencher.bench_local(|| keys.store.renew(black_box(&held)).now_or_never());
}

#[divan::bench]
fn checkpoint(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let held = keys.claimed();
    let progress = || keys.outcome.clone();
    let progresses = bencher.with_inputs(progress);
    progresses.bench_local_values(|progress| keys.store.checkpoint(&held, progress).now_or_never());
}

#[divan::bench]
fn take_over(bencher: Bencher<'_, '_>) {
    let keys = Keys::new();
    let lost = keys.claimed().with_lease(Duration::ZERO);
    keys.clock.advance(LEASE);
    let holds = bencher.with_inputs(|| lost.clone().with_token(Token::random()));
    holds.bench_local_refs(|hold| keys.claim(hold));
}
