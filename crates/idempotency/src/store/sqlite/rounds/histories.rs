//! Random histories, with what else happens to a file between its steps: each step has the same result as in the store in
//! memory, which has neither an index nor rounds.

mod steps;

use std::{future::poll_fn, pin::Pin, sync::mpsc, task::Poll};

use futures_util::future::{join_all, maybe_done};
use tokio::sync::oneshot;

use super::*;
use crate::{
    MemoryStore,
    store::{StoreErrorKind, Verdict},
};
use steps::{Chance, Step, take};

/// Enough keys for the records of several rounds.
const KEYS: u64 = 400;

/// What becomes of a transaction.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Committed,
    /// A statement in it has ended it.
    Undone,
    /// Its commit fails, after a part of a round.
    Refused,
    /// The file may not grow, so some statements fail, and perhaps all with them.
    Full,
}

const FATES: [Fate; 4] = [Fate::Committed, Fate::Undone, Fate::Refused, Fate::Full];

/// SQLite checks it at the commit.
const BROKEN: &str = "
    create table if not exists guests (id integer primary key) strict;
    create table if not exists stays (guest integer references guests (id) deferrable initially deferred) strict;
    insert into stays values (7);
";

/// How many records have the id of another one.
const TWICE: &str = "select count(*) - count(distinct id) from idempotency_records";

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
        let end = store.database().write(move |connection| match fate {
            Fate::Undone => connection.execute_batch("rollback"),
            Fate::Refused => connection.execute_batch(BROKEN),
            Fate::Committed | Fate::Full => Ok(()),
        });
        let mut end = Box::pin(maybe_done(end));
        poll_fn(|context| {
            let _ = end.as_mut().poll(context);
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
        // Reads may have responded to all steps, and what follows must not be in a transaction that is refused.
        end.await;
        let more = |connection: &Connection| pages(connection, "4294967294");
        store.database().write(more).await.expect("more room");
    }

    async fn random_batch(&self, chance: &mut Chance) {
        let keys = u32::try_from(KEYS).expect("a small number");
        let (first, count) = (
            chance.key(),
            2 + u32::try_from(chance.below(30)).expect("a small number"),
        );
        let steps: Vec<_> = (first..first + count)
            .map(|key| chance.step(key % keys))
            .collect();
        self.batch(&steps, chance.of(&FATES)).await;
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
            "delete from idempotency_places",
            "delete from idempotency_places where start = x''",
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
                // The next transaction, which reads the index, may be undone.
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
        assert!(self.sqlite().places.recent() <= 2 * ROUND);
        let twice = self
            .sqlite()
            .database()
            .read(|connection| connection.query_row(TWICE, (), |row| row.get::<_, u32>(0)));
        assert_eq!(twice.await.ok(), Some(0));
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
            0 => {
                both.disturb(&mut chance).await;
                both.random_batch(&mut chance).await;
            }
            1..4 => {
                both.random_batch(&mut chance).await;
            }
            4..7 => {
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
