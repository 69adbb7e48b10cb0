//! Changes of a record that has gone on since it was listed.

use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, IdempotencyKey, MemoryStore, OnLost, Scope,
    store::{ClaimRequest, Hold, ListRequest, ListedPhase, Token},
};

use super::*;

const LEASE: Duration = Duration::from_secs(30);

/// A run, and the clock of its store. This machine's clock is past every lease of that one, which begins in 1970.
async fn running() -> (Idempotency, Clock, Hold) {
    let clock = Clock::manual();
    let idempotency = Idempotency::new(MemoryStore::new().with_clock(clock.clone()));
    let key = IdempotencyKey::new("k").unwrap();
    let id = idempotency.record_id(&Scope::anonymous(), &key);
    let hold = Hold::new(id, Token::random(), LEASE, Duration::from_secs(3600));
    let asked = Fingerprint::of([b"book".as_slice()]);
    let claim = ClaimRequest::new(&hold, &asked, OnLost::TakeOver);
    idempotency.store().claim(claim).await.unwrap();
    (idempotency, clock, hold)
}

async fn listed(idempotency: &Idempotency, phase: ListedPhase) -> Record {
    let request = ListRequest::new(2).in_phase(phase);
    let mut listed = idempotency.store().list(&request).await.unwrap();
    listed.pop().unwrap().record.unwrap()
}

fn changes() -> [Change; 2] {
    let prepared = Prepared {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Vec::new(),
        ttl: Prepared::MIN_TTL,
    };
    let even_if_running = false;
    [
        Change::Release { even_if_running },
        Change::Resolve {
            prepared,
            even_if_running,
        },
    ]
}

// proves: lost-key-resolved-as-seen, store-clock-decides
#[tokio::test]
async fn a_run_whose_owner_has_recovered_since_it_was_listed_goes_on() {
    let (idempotency, clock, hold) = running().await;
    let who = Who::of_process();
    clock.advance(LEASE);
    let lapsed = listed(&idempotency, ListedPhase::Lapsed).await;
    idempotency.store().renew(&hold).await.unwrap();
    for change in changes() {
        let changed = change_seen(&idempotency, &who, &lapsed, &change).await;
        assert_eq!(changed.unwrap(), Outcome::Running);
    }
    clock.advance(LEASE);
    let [release, _] = changes();
    let changed = change_seen(&idempotency, &who, &lapsed, &release).await;
    assert_eq!(changed.unwrap(), Outcome::Done);
    let changed = change_seen(&idempotency, &who, &lapsed, &release).await;
    assert_eq!(changed.unwrap(), Outcome::NotFound);
}

// proves: lost-key-resolved-as-seen
#[tokio::test]
async fn a_step_since_a_run_was_seen_makes_another_version() {
    let (idempotency, _, hold) = running().await;
    let seen = listed(&idempotency, ListedPhase::InFlight).await;
    idempotency.store().renew(&hold).await.unwrap();
    let renewed = listed(&idempotency, ListedPhase::InFlight).await;
    assert_eq!(version(&renewed), version(&seen));
    let step = Bytes::from_static(b"charged");
    idempotency.store().checkpoint(&hold, step).await.unwrap();
    let gone_on = listed(&idempotency, ListedPhase::InFlight).await;
    assert_ne!(version(&gone_on), version(&seen));
}
