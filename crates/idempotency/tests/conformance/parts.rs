//! A store that writes the parts of each entry, as one does that has a database of bytes.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, Store,
    conformance::TestStore,
    conformance_tests,
    store::{
        Change, Claim, ClaimRequest, Entry, Hold, IfOwner, Labels, ListRequest, Listed, OnLost,
        Polling, Record, RecordId, Resolution, StoreError, Subscription, Token, Transition,
        Wakeups,
    },
};

/// What is left of an entry in a database.
#[derive(Debug)]
struct Row {
    record: Option<Record>,
    spent_tokens: Vec<Token>,
    expires_at: SystemTime,
}

impl Row {
    fn write(id: &RecordId, entry: &Entry, now: SystemTime) -> Self {
        Self {
            record: entry.inspect(id, now),
            spent_tokens: entry.spent_tokens(),
            expires_at: entry.expires_at(),
        }
    }

    fn read(&self) -> Entry {
        match &self.record {
            Some(record) => Entry::from_record(record.clone(), &self.spent_tokens),
            None => Entry::of_free_key(&self.spent_tokens, self.expires_at),
        }
    }
}

#[derive(Debug)]
struct Rows {
    rows: Mutex<HashMap<RecordId, Row>>,
    clock: Clock,
    wakeups: Wakeups,
}

impl Rows {
    fn step<T>(
        &self,
        id: &RecordId,
        step: impl FnOnce(&mut Entry, SystemTime) -> Transition<T>,
    ) -> Result<T, StoreError> {
        let mut rows = self.rows.lock().expect("a lock");
        let now = self.clock.now();
        let mut entry = rows.get(id).map(Row::read).unwrap_or_default();
        let before = entry.clone();
        let done = step(&mut entry, now);
        if done.change == Change::Unchanged {
            assert_eq!(entry, before, "an unchanged entry need not be saved");
        } else if entry.is_expired(now) {
            rows.remove(id);
        } else {
            rows.insert(*id, Row::write(id, &entry, now));
        }
        if done.change == Change::Ended {
            self.wakeups.wake(id);
        }
        Ok(done.reply)
    }
}

#[async_trait]
impl Store for Rows {
    fn name(&self) -> &'static str {
        "rows"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.step(&request.hold.id, |entry, now| {
            let needs_room = entry.needs_room(request, now);
            let claimed = entry.claim(request, now);
            let is_first = matches!(&claimed.reply, Ok(Claim::Won { attempt: 1, .. }));
            assert_eq!(needs_room, is_first && claimed.change == Change::Changed);
            claimed
        })?
    }

    async fn withdraw(&self, hold: &Hold, _: &Fingerprint) -> Result<(), StoreError> {
        self.step(&hold.id, |entry, now| entry.withdraw(hold, now))
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.step(&hold.id, |entry, now| entry.renew(hold, now))
    }

    async fn checkpoint(&self, hold: &Hold, steps: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.step(&hold.id, |entry, now| entry.checkpoint(hold, steps, now))
    }

    async fn suspend(&self, hold: &Hold, steps: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.step(&hold.id, |entry, now| entry.suspend(hold, steps, now))
    }

    async fn complete(&self, hold: &Hold, o: Bytes) -> Result<IfOwner<SystemTime>, StoreError> {
        self.step(&hold.id, |entry, now| entry.complete(hold, o, now))
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.step(&hold.id, |entry, now| entry.release(hold, now))
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        how: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let fresh = Token::random();
        self.step(id, |entry, now| entry.resolve(seen, how, fresh, now))
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let (rows, now) = (self.rows.lock().expect("a lock"), self.clock.now());
        Ok(rows.get(id).and_then(|row| row.read().inspect(id, now)))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let (rows, now) = (self.rows.lock().expect("a lock"), self.clock.now());
        let records = rows
            .iter()
            .filter_map(|(id, row)| row.read().inspect(id, now));
        Ok(request.select(records, now))
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let (mut rows, now) = (self.rows.lock().expect("a lock"), self.clock.now());
        let expired = rows.extract_if(|_, row| row.expires_at <= now);
        Ok(expired.take(limit).count())
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        let polling = Polling::every(Duration::from_secs(1));
        self.wakeups.subscribe(id, polling)
    }

    fn outcome_limit(&self) -> usize {
        usize::MAX
    }
}

async fn open() -> TestStore {
    let clock = Clock::manual();
    let store = Rows {
        rows: Mutex::default(),
        clock: clock.clone(),
        wakeups: Wakeups::default(),
    };
    TestStore::new(store, move |time| clock.advance(time))
}

conformance_tests!(open);
conformance_tests!(wakeups: open);

// proves: custom-store-from-entries
#[test]
fn an_entry_is_restored_from_its_parts() {
    let id = RecordId::from_bytes([7; 32]);
    let now = SystemTime::now();
    let asked = Fingerprint::of([b"book".as_slice()]);
    let (lease, ttl) = (Duration::from_secs(30), Duration::from_secs(3600));
    let hold = || {
        Hold::new(id, Token::random(), lease, ttl)
            .with_labels(Labels::new(Some("POST /bookings"), Some("anna")))
    };
    let (first, stray, second, third) = (hold(), hold(), hold(), hold());
    let request = |hold| ClaimRequest::new(hold, &asked, OnLost::TakeOver);
    let mut entry = Entry::default();
    let kept = |entry: &Entry, now| {
        assert_eq!(&Row::write(&id, entry, now).read(), entry);
        entry.spent_tokens()
    };

    assert!(entry.claim(request(&first), now).reply.is_ok());
    assert_eq!(kept(&entry, now), []);
    let _ = entry.withdraw(&stray, now);
    let _ = entry.suspend(&first, Bytes::from_static(b"charged"), now);
    assert_eq!(kept(&entry, now), [first.token, stray.token]);
    assert!(entry.claim(request(&second), now).reply.is_ok());
    assert_eq!(kept(&entry, now), [first.token, stray.token]);
    let _ = entry.release(&second, now);
    assert_eq!(kept(&entry, now), [second.token, first.token, stray.token]);
    assert!(entry.claim(request(&third), now + lease).reply.is_ok());
    let _ = entry.complete(&third, Bytes::from_static(b"booked"), now + lease);
    assert_eq!(kept(&entry, now + lease), []);
    let record = entry.inspect(&id, now + lease).expect("a record");
    assert_eq!(record.completed_at, Some(now + lease));
    assert_eq!(record.labels.label(), Some("anna"));
}
