//! Steps of many requests in one statement, each with a fate of its own.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use idempotency::{
    PostgresStore, Store,
    store::{Claim, Hold, IfOwner, StoreErrorKind},
};
use sqlx::{Row, postgres::PgPoolOptions};

use super::{
    behind_a_proxy, database, hex, hold_on, new_hold, pooler, request, round_trips::counted, sql,
    store,
};
use crate::{
    claim,
    paused_time::PausedTime,
    together::{BOOKED, claim_all, complete_all, each_step_gets_what_its_own_record_says, rivals},
    won,
};

pub(super) fn many() -> Vec<Hold> {
    (0..32).map(|_| new_hold()).collect()
}

#[tokio::test]
async fn what_arrives_during_two_statements_goes_in_the_next_one() {
    let Some((trips, options)) = counted().await else {
        return;
    };
    let pool = PgPoolOptions::new().max_connections(1);
    let store = PostgresStore::new(pool.connect_lazy_with(options));
    let mut counted = Vec::new();
    for _ in 0..4 {
        let holds = many();
        trips.store(0, Ordering::SeqCst);
        for claimed in claim_all(&store, &holds).await {
            assert_eq!(claimed, Ok(won(1)));
        }
        for completed in complete_all(&store, &holds, &BOOKED).await {
            assert_eq!(completed, Ok(true));
        }
        for looked in join_all(holds.iter().map(|hold| store.inspect(&hold.id))).await {
            assert!(matches!(looked, Ok(Some(_))), "{looked:?}");
        }
        counted.push(trips.load(Ordering::SeqCst));
    }
    // Three times two steps and all the others. The first round prepares the statements, and now and then the pool pings its
    // connection.
    assert_eq!(counted.iter().min(), Some(&9), "{counted:?}");
}

/// Each of the rows belongs to another owner, another request, or to no one.
// proves: stale-owner-writes, concurrent-equals-run-once
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_step_of_a_statement_gets_what_its_own_row_says() {
    let Some(url) = database().await else { return };
    let Some(pooler) = pooler() else { return };
    for way in [url.clone(), pooler.url(&url)] {
        let store = store(&way).await;
        each_step_gets_what_its_own_record_says(&store, many()).await;
    }
}

/// 30 outcomes that are too long for one statement. 17 of them are not.
#[tokio::test]
async fn a_statement_carries_a_mebibyte_at_most() {
    let Some((trips, options)) = counted().await else {
        return;
    };
    let pool = PgPoolOptions::new().max_connections(1);
    let store = PostgresStore::new(pool.connect_lazy_with(options));
    let outcome = Bytes::from(vec![7; 60 << 10]);
    let mut counted = Vec::new();
    for _ in 0..4 {
        let holds = many();
        claim_all(&store, &holds).await;
        trips.store(0, Ordering::SeqCst);
        let completions = holds
            .iter()
            .map(|hold| store.complete(hold, outcome.clone()));
        for completed in join_all(completions).await {
            assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
        }
        let completed = trips.swap(0, Ordering::SeqCst);
        let retries = rivals(&holds);
        for claimed in claim_all(&store, &retries).await {
            assert!(matches!(claimed, Ok(Claim::Completed { .. })));
        }
        let replayed = trips.swap(0, Ordering::SeqCst);
        for looked in join_all(holds.iter().map(|hold| store.inspect(&hold.id))).await {
            assert!(matches!(looked, Ok(Some(_))), "{looked:?}");
        }
        counted.push((completed, replayed, trips.load(Ordering::SeqCst)));
    }
    // Two go alone. The others are completed in two statements, and read in one, after which 13 go alone.
    assert_eq!(counted.iter().min(), Some(&(4, 16, 16)), "{counted:?}");
}

/// It is replayed, and read, whatever goes on beside it.
#[tokio::test]
async fn a_long_outcome_is_stored_and_read_beside_short_ones() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let holds = many();
    let long = Bytes::from(vec![7; 300_000]);
    let outcome = |hold: &Hold| {
        if *hold == holds[7] {
            long.clone()
        } else {
            BOOKED
        }
    };
    claim_all(&store, &holds).await;
    let completions = holds.iter().map(|hold| store.complete(hold, outcome(hold)));
    for completed in join_all(completions).await {
        assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    }
    let retries = rivals(&holds);
    for (claimed, hold) in claim_all(&store, &retries).await.into_iter().zip(&holds) {
        let Ok(Claim::Completed { outcome: found, .. }) = claimed else {
            panic!("{claimed:?}");
        };
        assert_eq!(found, outcome(hold));
    }
    for looked in join_all(holds.iter().map(|hold| store.inspect(&hold.id))).await {
        assert!(matches!(looked, Ok(Some(_))), "{looked:?}");
    }
}

// proves: newer-record-fails-alone, newer-value-fails-all, damaged-record-frees-key, other-version-is-error
#[tokio::test]
async fn a_record_that_cannot_be_read_fails_alone_among_many() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    for damage in [
        "phase = 4",
        "phase = 2, outcome = null",
        "lease_until = 'infinity'",
        "expires_at = 'infinity'",
        "fingerprint = '\\x02'",
        "token = ''",
    ] {
        let holds = many();
        claim_all(&store, &holds).await;
        let id = hex(&holds[7]);
        let statement = format!("update idempotency_records set {damage} where id = '{id}'");
        sql(&url, &statement).await;
        let retries = rivals(&holds);
        let unreadable = Err(StoreErrorKind::Unreadable);
        for (index, claimed) in claim_all(&store, &retries).await.into_iter().enumerate() {
            let in_flight = Ok(Claim::in_flight(request()));
            let expected = if index == 7 { &unreadable } else { &in_flight };
            assert_eq!(&claimed, expected, "{damage}, {index}");
        }
        let looked = join_all(holds.iter().map(|hold| store.inspect(&hold.id))).await;
        for (index, looked) in looked.into_iter().enumerate() {
            let kind = looked.map(|found| found.is_some());
            let kind = kind.map_err(|error| error.kind());
            let expected = if index == 7 {
                Err(StoreErrorKind::Unreadable)
            } else {
                Ok(true)
            };
            assert_eq!(kind, expected, "{damage}, {index}");
        }
        for (index, completed) in complete_all(&store, &holds, &BOOKED)
            .await
            .into_iter()
            .enumerate()
        {
            if index != 7 {
                assert_eq!(completed, Ok(true), "{damage}, {index}");
            }
        }
    }
}

/// Each finds that its step was done, as it does where it is sent alone.
// proves: own-claim-unrecognised, failed-completion-keeps-key
#[tokio::test]
async fn steps_whose_common_reply_is_lost_are_done_once() {
    let Some(direct) = database().await else {
        return;
    };
    let (proxy, url) = behind_a_proxy(&direct).await;
    let store = store(&url).await;
    // The statements are prepared first, so that each is a single request.
    let warm = many();
    claim_all(&store, &warm).await;
    complete_all(&store, &warm, &BOOKED).await;
    for round in 1..=3 {
        let holds = many();
        let of_one: &'static [u8] = Box::leak(Box::new(*holds[7].id.as_bytes()));
        proxy.lose_the_reply_to(of_one);
        for claimed in claim_all(&store, &holds).await {
            assert_eq!(claimed, Ok(won(1)));
        }
        proxy.lose_the_reply_to(of_one);
        for completed in complete_all(&store, &holds, &BOOKED).await {
            assert_eq!(completed, Ok(true));
        }
        assert_eq!(proxy.lost_replies(), 2 * round);
    }
    let attempts = "select max(attempt), count(*) from idempotency_records";
    let attempts = sql(&direct, attempts).await;
    assert_eq!((attempts[0].get(0), attempts[0].get(1)), (1, 4 * 32_i64));
}

/// A completion among others notifies the process in which a duplicate waits.
// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test]
async fn a_waiter_elsewhere_is_woken_by_a_completion_among_many() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    let holds = many();
    claim_all(&owning, &holds).await;
    let mut subscription = waiting.subscribe(&holds[7].id);
    let looked = claim(&waiting, &hold_on(holds[7].id), &request()).await;
    assert_eq!(looked.ok(), Some(Claim::in_flight(request())));
    let awaited = "select awaited from idempotency_records order by awaited desc limit 1";
    super::until(&url, awaited).await;
    let paused = PausedTime::pause();
    for completed in complete_all(&owning, &holds, &BOOKED).await {
        assert_eq!(completed, Ok(true));
    }
    subscription.changed().await;
    paused.resume();
    let replay = claim(&waiting, &hold_on(holds[7].id), &request()).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
}

/// Its request may have been dropped, or its runtime may not be driven.
// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test]
async fn a_waiter_is_woken_though_the_completion_is_not_polled_any_more() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let holds = many();
    claim_all(&store, &holds).await;
    let mut subscription = store.subscribe(&holds[7].id);
    let paused = PausedTime::pause();
    let completions = holds.iter().map(|hold| store.complete(hold, BOOKED));
    let mut completions: Vec<_> = completions.collect();
    let mut forgotten = completions.remove(7);
    // A reply may be there at once, and then the next completion has the turn.
    completions.retain_mut(|completion| completion.now_or_never().is_none());
    assert!((&mut forgotten).now_or_never().is_none());
    for completed in join_all(completions).await {
        assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    }
    subscription.changed().await;
    paused.resume();
    drop(forgotten);
}
