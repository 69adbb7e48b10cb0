//! How many commands the server executes, by its own count.

use std::collections::BTreeMap;

use bytes::Bytes;
use idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, RedisStore, Run, Scope, Store,
    store::{Claim, IfOwner},
};
use tests::servers::redis::RedisServer;

use super::{hold_on, new_hold};
use crate::{claim, won};

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
    // Two scripts, and the calls inside them: no other command came over the wire.
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

#[tokio::test]
async fn a_suspension_takes_one_round_trip_and_what_goes_on_from_it_another() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    let asked = Fingerprint::of([b"book".as_slice()]);
    let progress = Bytes::from_static(b"charged");
    let mut before = BTreeMap::new();
    // The server knows the scripts from the second time on.
    for _ in 0..2 {
        let owner = new_hold();
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        before = commands(&server);
        let suspended = store.suspend(&owner, progress.clone()).await;
        assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
        let next = claim(&store, &hold_on(owner.id), &asked).await;
        let (attempt, progress) = (2, progress.clone());
        assert_eq!(next.ok(), Some(Claim::won(attempt, progress)));
    }
    let expected = [
        ("evalsha", 2),
        ("get", 2),
        ("pexpireat", 1),
        ("publish", 1),
        ("set", 2),
        ("time", 2),
    ];
    assert_eq!(difference(&before, &commands(&server)), counts(&expected));
}

/// How often each command was called since the server started.
pub(super) fn commands(server: &RedisServer) -> BTreeMap<String, u64> {
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
            let (calls, _) = calls.split_once(',').expect("more fields after the calls");
            (command.to_owned(), calls.parse().expect("a number"))
        })
        .collect()
}

/// The calls in between, without those of this test.
pub(super) fn difference(
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
