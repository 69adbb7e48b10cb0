//! Steps of many requests in one call of a script, each with a fate of its own.

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use idempotency::{
    RedisStore,
    store::{Claim, Hold, StoreErrorKind},
};
use tests::servers::redis::{RedisServer, keys};

use super::{
    new_hold,
    records::{get, set},
    request,
    round_trips::{commands, difference},
    unused_prefix,
};
use crate::{
    claim,
    proxy::Proxy,
    together::{
        BOOKED, assert_all, claim_all, complete_all, each_step_gets_what_its_own_record_says,
        look_at_all, rivals,
    },
    won,
};

/// In a request of many steps: the argument that says how many there are.
const CALL_FOR_30: &[u8] = b"\r\n$2\r\n30\r\n";

/// What another program does to the record under this name.
type Damage = dyn Fn(&mut redis::Connection, &str);

/// How many go alone, before the others share a call.
const ALONE: usize = 4;

fn many() -> Vec<Hold> {
    (0..ALONE + 30).map(|_| new_hold()).collect()
}

async fn connect(server: &RedisServer) -> RedisStore {
    RedisStore::connect(&server.url()).await.expect("a store")
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
    for step in 0..3 {
        let least = counted.iter().map(|counts| counts[step]).min();
        assert_eq!(least, Some(5), "{counted:?}");
    }
}

/// Each of the records belongs to another owner, another request, or to no one.
// proves: stale-owner-writes, concurrent-equals-run-once
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_step_of_a_call_gets_what_its_own_record_says() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    each_step_gets_what_its_own_record_says(&store, many()).await;
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
    let (completed, replayed): (Vec<u64>, Vec<u64>) = counted.into_iter().unzip();
    assert_eq!(completed.iter().min(), Some(&6), "{completed:?}");
    assert_eq!(replayed.iter().min(), Some(&18), "{replayed:?}");
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

/// The server takes the steps of a call, and the connection breaks before the reply.
// proves: own-claim-unrecognised
#[tokio::test]
async fn steps_whose_call_has_no_reply_are_recognised_as_taken() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let proxy = Proxy::to(server.address()).await;
    let url = format!("redis://{}", proxy.address());
    let store = RedisStore::connect(&url).await.expect("a store");
    // The server knows the scripts after the first round. On a busy machine, steps may go in other calls.
    while proxy.lost_replies() < 6 {
        let holds = many();
        proxy.lose_the_reply_to(CALL_FOR_30);
        assert_all(&claim_all(&store, &holds).await, &Ok(won(1)));
        proxy.lose_the_reply_to(CALL_FOR_30);
        assert_all(&complete_all(&store, &holds, &BOOKED).await, &Ok(true));
        proxy.lose_the_reply_to(CALL_FOR_30);
        assert_all(&look_at_all(&store, &holds).await, &Ok(true));
    }
}

#[tokio::test]
async fn a_script_that_the_server_has_forgotten_is_sent_with_the_steps() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    for _ in 0..2 {
        let holds = many();
        assert_all(&claim_all(&store, &holds).await, &Ok(won(1)));
        assert_all(&complete_all(&store, &holds, &BOOKED).await, &Ok(true));
        let flushed: Result<(), _> = redis::cmd("SCRIPT")
            .arg("FLUSH")
            .query(&mut server.connection());
        flushed.expect("the scripts are removed");
    }
}

/// It reads no record for nothing: other clients wait meanwhile.
#[tokio::test]
async fn a_call_reads_hardly_more_than_it_returns() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    let hold = many().remove(0);
    claim_all(&store, std::slice::from_ref(&hold)).await;
    let outcome = Bytes::from(vec![7; 1 << 20]);
    complete_all(&store, std::slice::from_ref(&hold), &outcome).await;
    let looks = vec![hold; ALONE + 30];
    look_at_all(&store, &looks).await;
    let before = commands(&server);
    assert_all(&look_at_all(&store, &looks).await, &Ok(true));
    let reads = difference(&before, &commands(&server))["get"];
    // Those that go alone, and one more for each call, of which a busy machine may make several.
    assert!((34..34 + 12).contains(&reads), "{reads}");
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
    // The others may have been on their way.
    let waited = &holds[ALONE..];
    assert_all(&look_at_all(&store, waited).await, &Ok(false));
}

// proves: store-down-nothing-runs
#[tokio::test]
async fn a_server_that_is_gone_refuses_all_steps_unsent_and_serves_them_when_it_is_back() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let store = connect(&server).await;
    assert_all(&claim_all(&store, &many()).await, &Ok(won(1)));
    server.stop();
    // The first to notice may have sent theirs.
    let unavailable = Err(StoreErrorKind::Unavailable);
    assert_all(&claim_all(&store, &many()).await, &unavailable);
    let holds = many();
    let asked = request();
    let claims = holds.iter().map(|hold| claim(&store, hold, &asked));
    for claimed in join_all(claims).await {
        let error = claimed.expect_err("no server");
        assert!(!error.was_sent(), "{error}");
    }
    server.start_again();
    assert_all(&claim_all(&store, &many()).await, &Ok(won(1)));
}

/// The user may use half of the keys, so every call for many is refused. That is asked once, and not each time.
#[tokio::test]
async fn steps_go_alone_where_a_call_was_refused_because_of_its_keys() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let set: String = redis::cmd("ACL")
        .arg(&["SETUSER", "half", "on", ">secret", "+@all", "&*"])
        .arg("~idempotency:[0-7]*")
        .query(&mut server.connection())
        .expect("a user");
    assert_eq!(set, "OK");
    let url = server.url().replace("redis://", "redis://half:secret@");
    let store = RedisStore::connect(&url).await.expect("a store");
    let mut refused_together = Vec::new();
    for _ in 0..3 {
        let before = rejected(&server);
        let claimed = claim_all(&store, &many()).await;
        let refused = claimed.iter().filter(|claimed| claimed.is_err()).count();
        assert!((1..claimed.len()).contains(&refused), "{claimed:?}");
        refused_together.push(rejected(&server) - before - refused);
    }
    assert!(refused_together[0] > 0, "{refused_together:?}");
    assert_eq!(refused_together[1..], [0, 0]);
}

/// How many calls of scripts the server has refused before it ran them.
fn rejected(server: &RedisServer) -> usize {
    let statistics: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut server.connection())
        .expect("the statistics");
    let line = |line: &str| {
        let fields = line.strip_prefix("cmdstat_evalsha:")?;
        let (_, rejected) = fields.split_once("rejected_calls=")?;
        rejected.split(',').next()?.trim().parse().ok()
    };
    statistics.lines().find_map(line).unwrap_or_default()
}
