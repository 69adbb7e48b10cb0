//! Steps of many requests in one call of a script, each with a fate of its own.

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use idempotency::{
    RedisStore, Store,
    store::{Claim, Hold, IfOwner, StoreErrorKind},
};
use tests::servers::redis::{RedisServer, keys};

use super::{
    hold_on, new_hold,
    records::{get, set},
    request,
    round_trips::{commands, difference},
    unused_prefix,
};
use crate::{claim, proxy::Proxy, won};

const BOOKED: Bytes = Bytes::from_static(b"booked");

/// What somebody does to the record under this name.
type Damage = dyn Fn(&mut redis::Connection, &str);

/// How many go alone, before the others share a call.
const ALONE: usize = 4;

fn many() -> Vec<Hold> {
    (0..ALONE + 30).map(|_| new_hold()).collect()
}

fn rivals(holds: &[Hold]) -> Vec<Hold> {
    holds.iter().map(|hold| hold_on(hold.id)).collect()
}

async fn connect(server: &RedisServer) -> RedisStore {
    RedisStore::connect(&server.url()).await.expect("a store")
}

async fn claim_all(store: &RedisStore, holds: &[Hold]) -> Vec<Result<Claim, StoreErrorKind>> {
    let claims = holds.iter().map(|hold| async {
        let claimed = claim(store, hold, &request()).await;
        claimed.map_err(|error| error.kind())
    });
    join_all(claims).await
}

async fn complete_all(
    store: &RedisStore,
    holds: &[Hold],
    outcome: &Bytes,
) -> Vec<Result<bool, StoreErrorKind>> {
    let completions = holds.iter().map(|hold| async {
        let completed = store.complete(hold, outcome.clone()).await;
        let is_done = completed.map(|done| matches!(done, IfOwner::Done(_)));
        is_done.map_err(|error| error.kind())
    });
    join_all(completions).await
}

/// Whether there is a record of each.
async fn look_at_all(store: &RedisStore, holds: &[Hold]) -> Vec<Result<bool, StoreErrorKind>> {
    let looks = holds.iter().map(|hold| async {
        let looked = store.inspect(&hold.id).await;
        let is_there = looked.map(|record| record.is_some_and(|record| record.id == hold.id));
        is_there.map_err(|error| error.kind())
    });
    join_all(looks).await
}

#[track_caller]
fn assert_all<T: PartialEq + std::fmt::Debug>(results: &[T], expected: &T) {
    assert!(results.iter().all(|it| it == expected), "{results:?}");
}

/// How many calls of scripts the server has had meanwhile.
async fn calls(server: &RedisServer, steps: impl Future<Output = ()>) -> u64 {
    let before = commands(server);
    steps.await;
    let calls = difference(&before, &commands(server));
    calls.get("evalsha").copied().unwrap_or_default()
}

#[tokio::test]
async fn what_arrives_during_two_calls_goes_in_the_next_one() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let mut counted = Vec::new();
    for _ in 0..4 {
        let holds = many();
        let counts = [
            calls(&server, async {
                assert_all(&claim_all(&store, &holds).await, &Ok(won(1)));
            })
            .await,
            calls(&server, async {
                assert_all(&complete_all(&store, &holds, &BOOKED).await, &Ok(true));
            })
            .await,
            calls(&server, async {
                assert_all(&look_at_all(&store, &holds).await, &Ok(true));
            })
            .await,
        ];
        counted.push(counts);
    }
    // The steps that go alone, and all the others. The first round loads the scripts.
    assert_eq!(counted.iter().min(), Some(&[5, 5, 5]), "{counted:?}");
}

/// Each of the records belongs to another owner, another request, or to no one.
// proves: stale-owner-writes, concurrent-equals-run-once
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_step_of_a_call_gets_what_its_own_record_says() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let holds = many();
    // Several claims of each key, in one call and across calls.
    let contenders: Vec<_> = (0..4).flat_map(|_| rivals(&holds)).collect();
    let claimed = claim_all(&store, &contenders).await;
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for (hold, claimed) in contenders.into_iter().zip(claimed) {
        if claimed == Ok(won(1)) {
            winners.push(hold);
        } else {
            assert_eq!(claimed, Ok(Claim::in_flight(request())));
            losers.push(hold);
        }
    }
    assert_eq!(winners.len(), holds.len());
    // Those who do not own their keys change nothing, in the same calls as those who do.
    let all: Vec<_> = losers.iter().chain(&winners).cloned().collect();
    let completed = complete_all(&store, &all, &BOOKED).await;
    let (by_losers, by_winners) = completed.split_at(losers.len());
    assert_all(by_losers, &Ok(false));
    assert_all(by_winners, &Ok(true));
    // A completion that is sent again is recognised.
    assert_all(&complete_all(&store, &winners, &BOOKED).await, &Ok(true));
    for (claimed, hold) in claim_all(&store, &rivals(&winners))
        .await
        .iter()
        .zip(&winners)
    {
        let Ok(Claim::Completed { outcome, .. }) = claimed else {
            panic!("{claimed:?} of {hold:?}");
        };
        assert_eq!(outcome, &BOOKED);
    }
    assert_all(&look_at_all(&store, &many()).await, &Ok(false));
}

/// Each outcome is the one of its key, whether it travels alone or not.
#[tokio::test]
async fn a_call_carries_and_returns_a_mebibyte_at_most() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let outcome = Bytes::from(vec![7; 60 << 10]);
    let mut counted = Vec::new();
    for _ in 0..4 {
        let holds = many();
        claim_all(&store, &holds).await;
        let completed = calls(&server, async {
            assert_all(&complete_all(&store, &holds, &outcome).await, &Ok(true));
        });
        let completed = completed.await;
        let replayed = calls(&server, async {
            for claimed in claim_all(&store, &rivals(&holds)).await {
                let Ok(Claim::Completed { outcome: found, .. }) = claimed else {
                    panic!("{claimed:?}");
                };
                assert!(found == outcome);
            }
        });
        counted.push((completed, replayed.await));
    }
    // Four go alone. The others are completed in two calls, and read in one, after which 13 go alone.
    assert_eq!(counted.iter().min(), Some(&(6, 18)), "{counted:?}");
}

// proves: newer-record-fails-alone, newer-value-fails-all, damaged-record-frees-key, other-version-is-error
#[tokio::test]
async fn a_record_that_cannot_be_read_fails_alone_among_many() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let mut connection = server.connection();
    let damages: [&Damage; 3] = [
        &|connection, name| {
            let mut bytes = get(connection, name);
            bytes[0] = 3;
            set(connection, name, &bytes);
        },
        &|connection, name| set(connection, name, b"booked"),
        &|connection, name| {
            let removed: Result<(), _> = redis::cmd("DEL").arg(name).query(connection);
            removed.expect("the removal");
            let list: Result<(), _> = redis::cmd("RPUSH").arg(name).arg("x").query(connection);
            list.expect("a list in its place");
        },
    ];
    for damage in damages {
        let prefix = unused_prefix();
        let store = connect(&server).await.with_prefix(&prefix);
        let damaged = new_hold();
        claim_all(&store, std::slice::from_ref(&damaged)).await;
        let name = keys(&mut connection, &prefix).remove(0);
        let mut holds = many();
        claim_all(&store, &holds).await;
        holds[7] = damaged;
        damage(&mut connection, &name);
        let claimed = claim_all(&store, &rivals(&holds)).await;
        let completed = complete_all(&store, &holds, &BOOKED).await;
        let looked = look_at_all(&store, &holds).await;
        for index in 0..holds.len() {
            let results = (&claimed[index], &completed[index], &looked[index]);
            let expected = match index {
                7 => (
                    &Err(StoreErrorKind::Unreadable),
                    &Err(StoreErrorKind::Unreadable),
                    &Err(StoreErrorKind::Unreadable),
                ),
                _ => (&Ok(Claim::in_flight(request())), &Ok(true), &Ok(true)),
            };
            assert_eq!(results, expected, "{index}");
        }
    }
}

// proves: full-store-forgets-none, memory-limit-drops-records
#[tokio::test]
async fn a_full_server_refuses_each_claim_of_a_call_and_takes_each_completion() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let holds = many();
    assert_all(&claim_all(&store, &holds).await, &Ok(won(1)));
    let limited: Result<(), _> = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .query(&mut server.connection());
    limited.expect("the limit");
    assert_all(
        &claim_all(&store, &many()).await,
        &Err(StoreErrorKind::Full),
    );
    // Some claims of a call are of keys that are there.
    let mixed: Vec<_> = rivals(&holds).into_iter().zip(many()).collect();
    let mixed: Vec<_> = mixed.into_iter().flat_map(<[Hold; 2]>::from).collect();
    for (index, claimed) in claim_all(&store, &mixed).await.into_iter().enumerate() {
        let expected = match index % 2 {
            0 => Ok(Claim::in_flight(request())),
            _ => Err(StoreErrorKind::Full),
        };
        assert_eq!(claimed, expected, "{index}");
    }
    assert_all(&complete_all(&store, &holds, &BOOKED).await, &Ok(true));
}

/// The connection breaks before the replies are there, and the script is not on the server any more.
// proves: own-claim-unrecognised
#[tokio::test]
async fn steps_whose_call_has_no_reply_are_recognised_as_taken() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url).await.expect("a store");
    for _ in 0..8 {
        let holds = many();
        proxy.lose_the_next_reply();
        assert_all(&claim_all(&store, &holds).await, &Ok(won(1)));
        let flushed: Result<(), _> = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query(&mut server.connection());
        flushed.expect("the scripts are removed");
        proxy.lose_the_next_reply();
        assert_all(&complete_all(&store, &holds, &BOOKED).await, &Ok(true));
        assert_all(&look_at_all(&store, &holds).await, &Ok(true));
    }
    assert_eq!(proxy.lost_replies(), 16);
}

#[tokio::test]
async fn a_step_whose_caller_leaves_while_it_waits_is_not_taken() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let holds = many();
    assert!(claim_all(&store, &holds).now_or_never().is_none());
    let next = many();
    assert_all(&claim_all(&store, &next).await, &Ok(won(1)));
    let (alone, waited) = holds.split_at(ALONE);
    assert_all(&look_at_all(&store, waited).await, &Ok(false));
    // Those that were on their way may have arrived, and keep their keys or give them back.
    assert_eq!(look_at_all(&store, alone).await.len(), ALONE);
}

/// Nothing is sent to a server that cannot be reached, and the steps that wait do not wait one after the other.
// proves: store-down-nothing-runs
#[tokio::test]
async fn a_server_that_is_gone_refuses_all_steps_at_once_and_serves_them_when_it_is_back() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    assert_all(&claim_all(&store, &many()).await, &Ok(won(1)));
    server.stop();
    let unavailable = Err(StoreErrorKind::Unavailable);
    assert_all(&claim_all(&store, &many()).await, &unavailable);
    server.start_again();
    assert_all(&claim_all(&store, &many()).await, &Ok(won(1)));
}
