//! `core-api keys` on servers: what it follows, and what it leaves as it is.

use std::process::Stdio;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, raw_sql};
use tests::servers::{postgres::PostgresServer, redis::RedisServer};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdout, Command},
};

use crate::{service::Service, within_a_minute};

fn keys(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"));
    command.arg("keys").args(words);
    command
}

async fn event(lines: &mut Lines<BufReader<ChildStdout>>) -> (String, String) {
    let line = within_a_minute("an event", lines.next_line()).await;
    let line = line.expect("text").expect("a line");
    assert!(!line.contains("nobody"), "{line}");
    let event: Value = serde_json::from_str(&line).expect("JSON");
    let word = |name: &str| event[name].as_str().expect("a word").to_owned();
    (word("event"), word("phase"))
}

// proves: key-changes-followed
#[tokio::test(flavor = "multi_thread")]
async fn changes_are_followed_until_an_interrupt() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let url = server.url();
    let place = ["--database", "memory:", "--idempotency-store", &url];
    let service = Service::start(&place);
    let mut tail = keys(&["tail", "--json", "--every", "1"])
        .args(place)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the command runs");
    let said = tail.stderr.take().expect("its log");
    let mut said = BufReader::new(said).lines();
    loop {
        let line = within_a_minute("its first look", said.next_line()).await;
        let line = line.expect("text").expect("a line");
        if line == "following 0 keys until SIGINT" {
            break;
        }
        assert!(line.contains("without a secret"), "{line}");
    }
    let mut events = BufReader::new(tail.stdout.take().expect("its output")).lines();

    let slow = service.booking("slow").header("X-Fault-Delay-Ms", 600_000);
    let slow = tokio::spawn(slow.send());
    let pair = |event: &str, phase: &str| (event.to_owned(), phase.to_owned());
    assert_eq!(event(&mut events).await, pair("new", "running"));
    let booked = service.booking("k").send().await.expect("a response");
    assert_eq!(booked.status(), 201);
    assert_eq!(event(&mut events).await, pair("new", "done"));
    let id = keys(&["list", "--json", "--in-flight"])
        .args(place)
        .output();
    let listed = id.await.expect("the command runs").stdout;
    let listed: Value = serde_json::from_slice(&listed).expect("JSON");
    let id = listed["id"].as_str().expect("an id");
    let released = keys(&["release", "--even-if-running", id])
        .args(place)
        .output();
    assert!(released.await.expect("the command runs").status.success());
    assert_eq!(event(&mut events).await, pair("gone", "running"));
    slow.abort();

    let kill = format!("kill -INT {}", tail.id().expect("it runs"));
    let sent = Command::new("sh").args(["-c", &kill]).status().await;
    assert!(sent.expect("a shell").success());
    let ended = within_a_minute("its end", tail.wait()).await;
    assert_eq!(ended.expect("a status").code(), Some(0));
}

// proves: command-makes-no-tables
#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_another_programs_database_makes_no_tables_there() {
    let Some(server) = PostgresServer::shared() else {
        return;
    };
    let url = server.url(&server.database().await);
    for words in [&["list"][..], &["purge"], &["release", "--stuck", "--yes"]] {
        let output = keys(words).args(["--database", &url]).output().await;
        let output = output.expect("the command runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{said}");
        assert!(said.contains("has no table of keys"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let mut connection = PgConnection::connect(&url).await.expect("a connection");
    let tables = "select count(*) from pg_class where relname like 'idempotency%'";
    let tables = raw_sql(AssertSqlSafe(tables))
        .fetch_one(&mut connection)
        .await;
    let tables: i64 = tables.expect("a row").get(0);
    assert_eq!(tables, 0);
}
