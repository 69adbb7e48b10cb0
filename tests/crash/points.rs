//! A service that dies at one point of one request, and what there is after the retry, for each point, way to end a run and store.
//!
//! Each death is that of a process of its own. One later process gets all retries.

use std::{collections::HashMap, fs, os::unix::process::ExitStatusExt, path::PathBuf};

use reqwest::StatusCode;
use tempfile::TempDir;
use tests::servers::{
    firestore::FirestoreEmulator, free_port, postgres::PostgresServer, redis::RedisServer,
};
use tokio::task::JoinSet;

use crate::{
    bookings::{Bookings, in_firestore, in_postgres, in_sqlite},
    points_table::{Effects, Ending, Expected, Retry, Row, TABLE, in_markdown},
    process::{Process, Start},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Memory,
    Sqlite,
    Postgres,
    Redis,
    Firestore,
}

/// The database of one test, and the services' notes.
struct Place {
    store: Store,
    url: String,
    variables: Vec<(&'static str, String)>,
    folder: TempDir,
}

/// What a client sees of a response.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: StatusCode,
    is_replay: bool,
    body: String,
}

const ABORTED: Option<i32> = Some(6);

// proves: memory-forgets-at-death
#[tokio::test]
async fn a_retry_runs_from_the_start_after_each_death_of_a_memory_store() {
    come_to_their_rows(Store::Memory, "memory:".to_owned(), vec![]).await;
}

// proves: each-death-has-its-effects, rows-and-key-commit-together, stored-before-sent, dead-owner-taken-over
#[tokio::test]
async fn each_death_over_sqlite_has_the_effects_of_its_row() {
    come_to_their_rows(Store::Sqlite, String::new(), vec![]).await;
}

// proves: each-death-has-its-effects, rows-and-key-commit-together, stored-before-sent, dead-owner-taken-over
#[tokio::test]
async fn each_death_over_postgres_has_the_effects_of_its_row() {
    if let Some(server) = PostgresServer::shared() {
        come_to_their_rows(Store::Postgres, server.database().await, vec![]).await;
    }
}

// proves: each-death-has-its-effects, stored-before-sent, dead-owner-taken-over
#[tokio::test]
async fn each_death_over_redis_has_the_effects_of_its_row() {
    if let Some(server) = RedisServer::shared() {
        come_to_their_rows(Store::Redis, server.url(), vec![]).await;
    }
}

// proves: each-death-has-its-effects, rows-and-key-commit-together, stored-before-sent, dead-owner-taken-over
#[tokio::test]
async fn each_death_over_firestore_has_the_effects_of_its_row() {
    if let Some(emulator) = FirestoreEmulator::shared() {
        let host = vec![("FIRESTORE_EMULATOR_HOST", emulator.address())];
        come_to_their_rows(Store::Firestore, "firestore://deaths".to_owned(), host).await;
    }
}

#[test]
fn the_table_in_the_readme_is_the_tested_one() {
    let table = in_markdown();
    let readme = include_str!("README.md");
    assert!(
        readme.contains(&table),
        "tests/crash/README.md needs:\n{table}"
    );
}

async fn come_to_their_rows(store: Store, url: String, variables: Vec<(&'static str, String)>) {
    let place = Place::new(store, url, variables);
    let rows = TABLE.into_iter().filter(|row| store.has(row));
    let rows: Vec<Row> = rows.collect();
    let mut firsts = HashMap::new();
    for row in &rows {
        if let Some(seen) = place.die_at(row).await {
            firsts.insert(name(row), seen);
        }
    }
    let service = place.start(None).await;
    let mut retries = JoinSet::new();
    for row in rows.clone() {
        let address = service.1.clone();
        retries.spawn(async move {
            let retry = send(&address, &row).await.expect("a response");
            let again = send(&address, &row).await.expect("a response");
            (row, retry, again)
        });
    }
    let retries = retries.join_all().await;
    let (notes, bookings) = (place.notes(), place.bookings().await);
    let mut wrong = Vec::new();
    for (row, retry, again) in retries {
        let found = Expected {
            effects: effects(&row, &notes, &bookings),
            retry: retry.kind(),
        };
        let expected = store.expects(&row);
        if found != expected {
            wrong.push(format!("{}: {found:?}, and not {expected:?}", name(&row)));
        }
        if expected.retry != Retry::Refused {
            assert_eq!(again.kind(), Retry::Replays, "{}", name(&row));
        }
        assert_eq!(again.body, retry.body, "{}", name(&row));
        if let (Some(first), Retry::Replays) = (firsts.get(&name(&row)), expected.retry) {
            assert_eq!(first.body, retry.body, "{}", name(&row));
        }
    }
    assert!(wrong.is_empty(), "{store:?}: {wrong:#?}");
    service.0.kill().await;
}

impl Store {
    /// Whether this row can be tried with it.
    fn has(self, row: &Row) -> bool {
        match self {
            Self::Memory | Self::Redis => !row.ending.is_in_the_database(),
            Self::Sqlite | Self::Postgres | Self::Firestore => true,
        }
    }

    fn expects(self, row: &Row) -> Expected {
        match self {
            Self::Memory => Expected {
                effects: row.in_memory.expect("a row of the memory store"),
                retry: Retry::Runs,
            },
            _ => row.expected,
        }
    }
}

impl Place {
    fn new(store: Store, url: String, variables: Vec<(&'static str, String)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match store {
            Store::Sqlite => format!("sqlite:{}", folder.path().join("keys.db").display()),
            _ => url,
        };
        Self {
            store,
            url,
            variables,
            folder,
        }
    }

    /// A service, and its address.
    async fn start(&self, die: Option<&str>) -> (Process, String) {
        let address = format!("127.0.0.1:{}", free_port());
        let runs = self.runs().display().to_string();
        let options = [
            ("--listen", address.as_str()),
            ("--database", &self.url),
            ("--runs", &runs),
        ];
        let die = die.map(|point| ("--die", point));
        let arguments = options.into_iter().chain(die);
        let start = Start {
            program: env!("CARGO_BIN_EXE_crash-service"),
            arguments: arguments
                .flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
                .collect(),
            variables: self.variables.clone(),
            log: self.folder.path().join("log"),
        };
        (Process::start(start).await, address)
    }

    /// Sends the request to a service that dies there. Returns the response that came before its death.
    async fn die_at(&self, row: &Row) -> Option<Seen> {
        if row.point == "after-response" {
            let (service, address) = self.start(None).await;
            let seen = send(&address, row).await.expect("a response");
            service.kill().await;
            return Some(seen);
        }
        let (service, address) = self.start(Some(row.point)).await;
        if let Ok(seen) = send(&address, row).await {
            panic!("{} is not reached: {seen:?}", name(row));
        }
        assert_eq!(service.ended().await.signal(), ABORTED, "{}", name(row));
        None
    }

    fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    fn notes(&self) -> String {
        fs::read_to_string(self.runs()).expect("the services' notes")
    }

    /// Those in the database of the keys.
    async fn bookings(&self) -> Bookings {
        let (bookings, _) = match self.store {
            Store::Memory | Store::Redis => return Bookings::new(),
            Store::Sqlite => in_sqlite(&self.folder.path().join("keys.db")),
            Store::Postgres => in_postgres(&self.url).await,
            Store::Firestore => {
                let (_, project) = self.url.split_once("://").expect("a project");
                let (_, emulator) = &self.variables[0];
                in_firestore(emulator, project).await
            }
        };
        bookings
    }
}

impl Seen {
    fn kind(&self) -> Retry {
        match (self.status, self.is_replay) {
            (StatusCode::CREATED, false) => Retry::Runs,
            (StatusCode::CREATED, true) => Retry::Replays,
            (StatusCode::CONFLICT, false) if self.body.contains("outcome-unknown") => {
                Retry::Refused
            }
            _ => panic!("no row has {self:?}"),
        }
    }
}

/// The customer and the key of a row.
fn name(row: &Row) -> String {
    format!("{}-{}", row.ending.name(), row.point)
}

fn effects(row: &Row, notes: &str, bookings: &Bookings) -> Effects {
    let noted = |what| {
        let note = format!("{what} {}", name(row));
        notes.lines().filter(|line| *line == note).count()
    };
    let in_database = bookings.get(&name(row)).copied().unwrap_or_default();
    Effects {
        charges: noted("charge"),
        bookings: match row.ending {
            Ending::TakesOver | Ending::Refuses => noted("booking"),
            Ending::Commits | Ending::Transactional => in_database,
        },
    }
}

async fn send(address: &str, row: &Row) -> reqwest::Result<Seen> {
    let request = reqwest::Client::new()
        .post(format!("http://{address}/{}", row.ending.name()))
        .header("Idempotency-Key", name(row))
        .header("Content-Type", "application/json")
        .body(format!(r#"{{"customer_name":"{}"}}"#, name(row)));
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers());
    let is_replay = headers.contains_key("Idempotent-Replayed");
    let body = response.text().await?;
    Ok(Seen {
        status,
        is_replay,
        body,
    })
}
