//! How much the server is asked, by its own count.

use std::collections::BTreeMap;

use idempotency::{Fingerprint, Idempotency, IdempotencyKey, RedisStore, Run, Scope};
use tests::servers::redis::RedisServer;

#[tokio::test]
async fn a_first_execution_takes_two_round_trips_and_a_replay_one() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    let idempotency = Idempotency::new(store);
    let scope = Scope::principal("ann");
    let run = async |key: &str| {
        let key = IdempotencyKey::new(key).expect("a key");
        let fingerprint = Fingerprint::of([b"book".as_slice()]);
        let work = async { Ok::<_, ()>("booked".to_owned()) };
        idempotency
            .run(&scope, &key, fingerprint, work)
            .await
            .expect("a value")
    };
    // The server knows the scripts from now on.
    run("first").await;

    let before = commands(&server);
    assert_eq!(run("second").await, Run::Executed("booked".to_owned()));
    let after = commands(&server);
    // Two scripts, and what is called inside of them: nothing else came over the wire.
    let expected = [
        ("evalsha", 2),
        ("get", 2),
        ("pexpireat", 1),
        ("publish", 1),
        ("set", 2),
        ("time", 2),
    ];
    assert_eq!(difference(&before, &after), counts(&expected));

    assert_eq!(run("second").await, Run::Replayed("booked".to_owned()));
    let expected = [("evalsha", 1), ("get", 1), ("time", 1)];
    assert_eq!(difference(&after, &commands(&server)), counts(&expected));
}

/// How often each command was called since the server was started.
fn commands(server: &RedisServer) -> BTreeMap<String, u64> {
    let statistics: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut server.connection())
        .expect("the statistics");
    let lines = statistics
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"));
    lines
        .map(|line| {
            let (command, calls) = line.split_once(":calls=").expect("a command and its calls");
            let (calls, _) = calls.split_once(',').expect("more behind the calls");
            (command.to_owned(), calls.parse().expect("a number"))
        })
        .collect()
}

/// What was called in between, but for what this test asks the server itself.
fn difference(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    after
        .iter()
        .filter(|(command, _)| *command != "info" && !command.starts_with("client"))
        .map(|(command, calls)| (command.clone(), calls - before.get(command).unwrap_or(&0)))
        .filter(|(_, calls)| *calls > 0)
        .collect()
}

fn counts(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = expected
        .iter()
        .map(|&(command, calls)| (command.to_owned(), calls));
    owned.collect()
}
