//! Random histories, with what else happens to a file between its steps: each step has the same result as in the store in
//! memory, which has neither an index nor rounds.

use std::{future::poll_fn, pin::Pin, sync::mpsc, task::Poll};

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::*;
use crate::{
    MemoryStore,
    labels::Labels,
    record::ScopeId,
    store::{StoreErrorKind, Verdict},
};

/// Enough keys for the records of several rounds.
const KEYS: u64 = 400;

/// What a caller asks of a store.
#[derive(Clone, Debug)]
enum Step {
    Claim(Hold, Fingerprint, OnLost),
    Complete(Hold, Bytes),
    Release(Hold),
    Renew(Hold),
    Checkpoint(Hold, Bytes),
    Suspend(Hold, Bytes),
    Withdraw(Hold, Fingerprint),
    Resolve(RecordId, Token, Resolution),
    Inspect(RecordId),
    Purge(usize),
}

/// A sequence that a number determines.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn of<T: Clone>(&mut self, values: &[T]) -> T {
        let number = self.below(values.len().try_into().expect("a small number"));
        values[usize::try_from(number).expect("a small number")].clone()
    }

    fn key(&mut self) -> u32 {
        self.below(KEYS).try_into().expect("a small number")
    }

    fn bytes(&mut self) -> Bytes {
        let length = self.of(&[0, 1, 30, 700, 9000]);
        vec![b'x'; length].into()
    }

    fn hold(&mut self, key: u32) -> Hold {
        let token = Token::from_bytes([self.of(&[1, 2, 3]); 16]);
        let lease = Duration::from_secs(self.of(&[1, 30]));
        let year = 366 * 24 * 3600;
        let ttl = Duration::from_millis(1000 * self.of(&[1, 60, 3600, 3 * year]) - self.below(2));
        let labels = Labels::new(self.of(&[None, Some("POST /bookings")]), None);
        Hold::new(id(key), token, lease, ttl)
            .with_scope(ScopeId::from_bytes([self.of(&[1, 2]); 8]))
            .with_labels(labels)
    }

    fn step(&mut self, key: u32) -> Step {
        let hold = self.hold(key);
        let asked = Fingerprint::of([self.of(&[b"book".as_slice(), b"cancel"])]);
        match self.below(32) {
            0..12 => Step::Claim(hold, asked, self.of(&[OnLost::TakeOver, OnLost::Refuse])),
            12..18 => Step::Complete(hold, self.bytes()),
            18 | 19 => Step::Release(hold),
            20 | 21 => Step::Renew(hold),
            22 | 23 => Step::Checkpoint(hold, self.bytes()),
            24 => Step::Suspend(hold, self.bytes()),
            25 => Step::Withdraw(hold, asked),
            26..29 => Step::Resolve(hold.id, hold.token, self.resolution()),
            29 | 30 => Step::Inspect(hold.id),
            _ => Step::Purge(self.of(&[1, 7, usize::MAX])),
        }
    }

    fn resolution(&mut self) -> Resolution {
        let outcome = self.bytes();
        let ttl = Duration::from_secs(self.of(&[60, 3600]));
        match self.below(5) {
            0 => Resolution::Release,
            1 => Resolution::Complete { outcome, ttl },
            2 => Resolution::Replace { outcome },
            3 => Resolution::Erase { outcome },
            _ => Resolution::Forget,
        }
    }
}

/// What a caller learns.
async fn take(store: &dyn Store, step: &Step) -> Result<String, StoreErrorKind> {
    let result = match step.clone() {
        Step::Claim(hold, asked, on_lost) => {
            let request = ClaimRequest::new(&hold, &asked, on_lost);
            store.claim(request).await.map(|it| match it {
                // Their debug texts show no bytes.
                Claim::Won { progress, .. } => format!("won {}", progress.len()),
                Claim::Completed { ref outcome, .. } => format!("{it:?} {}", outcome.len()),
                _ => format!("{it:?}"),
            })
        }
        Step::Complete(hold, outcome) => text(store.complete(&hold, outcome).await),
        Step::Release(hold) => text(store.release(&hold).await),
        Step::Renew(hold) => text(store.renew(&hold).await),
        Step::Checkpoint(hold, progress) => text(store.checkpoint(&hold, progress).await),
        Step::Suspend(hold, progress) => text(store.suspend(&hold, progress).await),
        Step::Withdraw(hold, asked) => text(store.withdraw(&hold, &asked).await),
        Step::Resolve(id, token, resolution) => text(store.resolve(&id, &token, resolution).await),
        Step::Inspect(id) => text(store.inspect(&id).await),
        // Which records are removed first is not said, nor how long a free key stays.
        Step::Purge(limit) => store.purge_expired(limit).await.map(|_| String::new()),
    };
    result.map_err(|error| error.kind())
}

fn text<T: std::fmt::Debug>(
    result: Result<T, crate::StoreError>,
) -> Result<String, crate::StoreError> {
    result.map(|value| format!("{value:?}"))
}

/// What becomes of a transaction.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Committed,
    Undone,
    /// The file may not grow, so some statements fail, and perhaps all with them.
    Full,
}

/// How many pages the file may have.
fn pages(connection: &Connection, most: &str) -> Result<(), rusqlite::Error> {
    let most: i64 = connection.query_row(&format!("select {most}"), (), |row| row.get(0))?;
    connection.query_row(&format!("pragma max_page_count = {most}"), (), |_| Ok(()))
}

struct Both {
    file: File,
    clock: Clock,
    sqlite: Option<SqliteStore>,
    memory: MemoryStore,
}

impl Both {
    fn new() -> Self {
        let (file, clock) = (File::new(), Clock::manual());
        let sqlite = Some(file.open().with_clock(clock.clone()));
        let memory = MemoryStore::new().with_clock(clock.clone());
        Self {
            file,
            clock,
            sqlite,
            memory,
        }
    }

    fn sqlite(&self) -> &SqliteStore {
        self.sqlite.as_ref().expect("an open file")
    }

    async fn step(&self, step: &Step) {
        let found = take(self.sqlite(), step).await;
        assert_eq!(found, take(&self.memory, step).await, "{step:?}");
    }

    /// Steps of different keys in one transaction.
    async fn batch(&self, steps: &[Step], fate: Fate) {
        let store = self.sqlite();
        let (go_on, gone_on) = mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let database = store.database().clone();
        let first = tokio::spawn(async move {
            let wait = database.write(move |connection| {
                started.send(()).expect("a test that waits");
                if fate == Fate::Full {
                    pages(connection, "(select page_count from pragma_page_count)")?;
                }
                Ok(gone_on.recv().is_err())
            });
            drop(wait.await);
        });
        running.await.expect("the writer has begun");
        let mut calls: Vec<Pin<Box<dyn Future<Output = _> + '_>>> = Vec::new();
        for step in steps {
            calls.push(Box::pin(take(store, step)));
        }
        let mut results: Vec<Option<Result<String, StoreErrorKind>>> = vec![None; calls.len()];
        for (call, result) in calls.iter_mut().zip(&mut results) {
            poll_fn(|context| {
                if let Poll::Ready(done) = call.as_mut().poll(context) {
                    *result = Some(done);
                }
                Poll::Ready(())
            })
            .await;
        }
        let end = store.database().write(move |connection| {
            if fate == Fate::Undone {
                connection.execute_batch("rollback")?;
            }
            Ok(())
        });
        let mut end = Box::pin(end);
        poll_fn(|context| {
            drop(end.as_mut().poll(context));
            Poll::Ready(())
        })
        .await;
        drop(go_on);
        first.await.expect("no panic");
        let rest = calls.into_iter().zip(results).map(|(call, result)| async {
            match result {
                Some(result) => result,
                None => call.await,
            }
        });
        for (step, found) in steps.iter().zip(join_all(rest).await) {
            // A step that a thread that reads has looked at first may come after that transaction.
            if fate != Fate::Committed && found == Err(StoreErrorKind::Unavailable) {
                continue;
            }
            assert_eq!(found, take(&self.memory, step).await, "{step:?}");
        }
        let more = |connection: &Connection| pages(connection, "4294967294");
        store.database().write(more).await.expect("more room");
    }

    async fn restart(&mut self, meanwhile: &str) {
        // Notes the time in the file, so that the pause is none.
        let note = Step::Release(hold(u32::MAX));
        self.step(&note).await;
        self.sqlite = None;
        let connection = Connection::open(self.file.path()).expect("a connection");
        connection.execute_batch(meanwhile).expect(meanwhile);
        drop(connection);
        self.sqlite = Some(self.file.open().with_clock(self.clock.clone()));
    }

    /// What leaves each record as it is.
    async fn disturb(&mut self, chance: &mut Chance) {
        let guide = include_str!("../../../docs/operators.md");
        let (_, back) = guide.split_once("```sql\n").expect("statements");
        let (version_1, _) = back.split_once("```").expect("statements");
        let elsewhere = [
            "create table if not exists notes (text text)",
            "vacuum",
            "pragma wal_checkpoint(truncate)",
            "update idempotency_records set place = place + 1000000 where place = (select max(place) from idempotency_records)",
        ];
        let meanwhile = [
            "",
            "vacuum",
            "delete from idempotency_places",
            "delete from idempotency_places where start > x'80'",
            "delete from idempotency_places where start = x''",
            version_1,
        ];
        let own = [
            "update idempotency_records set attempt = attempt where place % 3 = 0",
            "delete from idempotency_records; select no_such_function()",
            "insert into idempotency_records select max(place) + 7, randomblob(32), fingerprint, token, attempt, 1, phase,
                lease_until, outcome, spent, scope, created_at, completed_at, route, label from idempotency_records
                having max(place) > 0",
        ];
        match chance.below(3) {
            0 => {
                let statement = chance.of(&elsewhere);
                let other = Connection::open(self.file.path()).expect("a connection");
                other
                    .busy_timeout(Duration::from_secs(5))
                    .expect("a timeout");
                other.execute_batch(statement).expect(statement);
            }
            1 => self.restart(chance.of(&meanwhile)).await,
            _ => {
                let statement = chance.of(&own);
                let work = move |connection: &Connection| connection.execute_batch(statement);
                drop(self.sqlite().database().write(work).await);
            }
        }
    }

    async fn compare(&self) {
        for key in 0..KEYS {
            self.step(&Step::Inspect(id(key.try_into().expect("a small number"))))
                .await;
        }
        let request = ListRequest::new(10_000);
        let listed = self.sqlite().list(&request).await.expect("a list");
        let expected = self.memory.list(&request).await.expect("a list");
        assert_eq!(format!("{listed:?}"), format!("{expected:?}"));
        let verification = self.sqlite().verify().await;
        let index = verification.findings.iter().find(|it| it.check == "index");
        assert!(
            index.is_none_or(|it| it.verdict == Verdict::Ok),
            "{index:?}"
        );
    }
}

// proves: record-gone-last-second, store-clock-decides, damaged-record-frees-key
#[tokio::test]
async fn whatever_happens_to_a_file_its_records_are_those_of_a_store_in_memory() {
    let seed = std::env::var("HISTORIES_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ seed);
    let mut both = Both::new();
    for number in 0..4000 {
        let key = chance.key();
        match chance.below(40) {
            0 => both.disturb(&mut chance).await,
            1 | 2 => {
                let count = 2 + u32::try_from(chance.below(30)).expect("a small number");
                let keys = (key..key + count)
                    .map(|key| key % u32::try_from(KEYS).expect("a small number"));
                let steps: Vec<_> = keys.map(|key| chance.step(key)).collect();
                both.batch(
                    &steps,
                    chance.of(&[Fate::Committed, Fate::Undone, Fate::Full]),
                )
                .await;
            }
            3..6 => {
                let seconds = chance.of(&[1, 1, 1, 2, 2, 20, 40, 1800]);
                both.clock
                    .advance(Duration::from_millis(1000 * seconds - 500));
            }
            _ => both.step(&chance.step(key)).await,
        }
        if number % 400 == 0 {
            both.compare().await;
        }
    }
    both.compare().await;
}
