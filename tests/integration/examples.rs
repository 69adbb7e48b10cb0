//! The examples, each started as its reader starts it. They check themselves, so an example's exit status says whether it shows what
//! it promises. `payment` has a test of its own (`payment.rs`).

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tests::{
    reply::Reply,
    servers::{postgres::PostgresServer, redis::RedisServer},
};

use crate::test_server::BOOKING;

/// Runs an example to its end, and returns its output.
fn run(example: &mut Command) -> String {
    let run = example.output().expect("the example runs");
    let story = String::from_utf8_lossy(&run.stdout).into_owned();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{:?}\n{story}{errors}", run.status);
    story
}

/// An example that serves until it is killed.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

// proves: token-change-keeps-keys, principals-are-separate
#[tokio::test]
async fn bookings_replays_to_the_same_caller_only() {
    let mut example = Command::new(env!("CARGO_BIN_EXE_example-bookings"));
    example.arg("127.0.0.1:0").stdout(Stdio::piped());
    let mut serving = Serving(example.spawn().expect("the example runs"));
    let output = serving.0.stdout.take().expect("it is piped");
    let mut line = String::new();
    let read = BufReader::new(output).read_line(&mut line);
    read.expect("a line");
    let address = line.trim().strip_prefix("listening on ");
    let url = format!("http://{}/bookings", address.expect("an address"));
    let client = reqwest::Client::new();
    let book = |token: &str| {
        let request = client
            .post(&url)
            .bearer_auth(token)
            .header("idempotency-key", "1")
            .header("content-type", "application/json")
            .body(BOOKING);
        Reply::to(request)
    };
    let first = book("token-1").await;
    first.assert_fresh(201);
    book("token-2").await.assert_replays(&first);
    book("token-3").await.assert_fresh(201);
    book("token-4").await.assert_fresh(401);
}

// proves: token-change-keeps-keys, principals-are-separate
#[test]
fn layer_protects_a_whole_router() {
    run(&mut Command::new(env!("CARGO_BIN_EXE_example-layer")));
}

// proves: client-survives-kills
#[test]
fn client_books_once_although_it_and_its_service_are_killed() {
    let mut example = Command::new(env!("CARGO_BIN_EXE_example-client"));
    let story = run(example.arg(env!("CARGO_BIN_EXE_core-api-under-test")));
    for line in [
        "the service was killed while it booked",
        "the client was killed while it waited",
        "bookings: 1",
    ] {
        assert!(story.lines().any(|found| found == line), "{story}");
    }
    assert_eq!(story.matches("booked: ").count(), 1, "{story}");
}

#[test]
fn operator_decides_what_the_retries_of_lost_runs_get() {
    run(&mut Command::new(env!("CARGO_BIN_EXE_example-operator")));
}

#[test]
fn queue_makes_one_invoice_for_each_message() {
    let story = run(&mut Command::new(env!("CARGO_BIN_EXE_example-queue")));
    let lines: Vec<_> = story.lines().collect();
    let [first, second, again, other] = &lines[..] else {
        panic!("{story}");
    };
    assert_eq!(*first, "message-1: invoice 1 for order 7");
    assert_eq!(*second, "message-2: invoice 2 for order 8");
    assert_eq!(*again, "message-1: was invoice 1 for order 7");
    assert!(other.starts_with("message-2: not now: "), "{story}");
}

// proves: custom-store-from-entries
#[test]
fn store_runs_work_once_in_a_store_of_its_own() {
    run(&mut Command::new(env!("CARGO_BIN_EXE_example-store")));
}

#[test]
fn testing_serves_what_it_tests() {
    let story = run(&mut Command::new(env!("CARGO_BIN_EXE_example-testing")));
    assert_eq!(story.trim(), "201 Created: parcel 1 to Ann");
}

// proves: rebuilt-response-not-stored
#[test]
fn tokens_shows_each_secret_once() {
    let story = run(&mut Command::new(env!("CARGO_BIN_EXE_example-tokens")));
    let told: Vec<_> = story.lines().collect();
    assert_eq!(
        told,
        [
            "201: a token, and its secret",
            "stored: \"1\"",
            r#"200, replayed: {"id":1,"secret":null}"#,
            "410: token 1 was revoked",
        ]
    );
}

/// Runs it twice, as a reader may: the second run finds the tables of the first one.
#[tokio::test]
async fn postgres_commits_rows_and_key_at_once() {
    let Some(server) = PostgresServer::shared() else {
        return;
    };
    let url = server.database().await;
    for _ in 0..2 {
        run(Command::new(env!("CARGO_BIN_EXE_example-postgres")).env("DATABASE_URL", &url));
    }
}

// proves: dead-owner-taken-over, downstream-key-derived
#[test]
fn redis_hands_a_dead_process_key_over() {
    let Some(server) = RedisServer::shared() else {
        return;
    };
    run(Command::new(env!("CARGO_BIN_EXE_example-redis")).env("REDIS_URL", server.url()));
}

#[test]
fn an_example_without_its_server_says_what_it_needs() {
    for (example, needed) in [
        (env!("CARGO_BIN_EXE_example-postgres"), "DATABASE_URL"),
        (env!("CARGO_BIN_EXE_example-redis"), "REDIS_URL"),
        (env!("CARGO_BIN_EXE_example-client"), "core-api"),
    ] {
        let run = Command::new(example).env_remove(needed).output();
        let run = run.expect("the example runs");
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(!run.status.success() && errors.contains(needed), "{errors}");
    }
}
