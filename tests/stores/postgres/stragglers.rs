//! Statements of many requests that some of them leave, or that do not end.

use std::{pin::pin, time::Duration};

use futures_util::{FutureExt, future::join_all};
use idempotency::{
    PostgresStore, Store,
    store::{Claim, IfOwner, StoreErrorKind},
};
use sqlx::{AssertSqlSafe, postgres::PgPoolOptions, raw_sql};
use tests::log::Log;
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::Level;

use super::{
    behind_a_proxy, connection, database, hex, hold_on, new_hold, request, sql, store,
    together::many,
};
use crate::{
    claim,
    together::{BOOKED, claim_all, complete_all},
    within_a_minute, won,
};

/// Their statement goes on for the others, and what it took for them is withdrawn as ever.
// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_leave_take_nothing_from_the_others() {
    let Some(direct) = database().await else {
        return;
    };
    let (proxy, url) = behind_a_proxy(&direct).await;
    let store = store(&url).await;
    for _ in 0..2 {
        let warm = many();
        claim_all(&store, &warm).await;
        complete_all(&store, &warm, &BOOKED).await;
    }
    let holds = many();
    let mut claims = Vec::new();
    // The replies to the first two are awaited, and then that to the others.
    let before = proxy.delayed_replies();
    let (soon, never) = (Duration::from_millis(20), Duration::from_secs(600));
    proxy.delay_the_next_replies([soon, soon, never]);
    for hold in holds.clone() {
        let store = store.clone();
        claims.push(tokio::spawn(async move {
            claim(&store, &hold, &request()).await
        }));
    }
    let sent = async {
        while proxy.delayed_replies() < before + 3 {
            tokio::task::yield_now().await;
        }
    };
    within_a_minute("the others' reply", sent).await;
    let (leaving, staying) = claims.split_at_mut(8);
    for claim in &mut *leaving {
        claim.abort();
    }
    let mut left = 0;
    for claim in leaving {
        left += usize::from(claim.await.is_err_and(|error| error.is_cancelled()));
    }
    // The first two may have their replies already.
    assert!(left >= 6, "{left} have left midway");
    proxy.let_everything_through();
    for claim in staying {
        let claimed = claim.await.expect("a claim");
        assert_eq!(claimed.ok(), Some(won(1)));
    }
    for left in &holds[..8] {
        let withdrawn = store.withdraw(left, &request()).await;
        withdrawn.expect("a withdrawal");
        let late = claim(&store, left, &request()).await;
        let kind = late.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
        let next = claim(&store, &hold_on(left.id), &request()).await;
        assert_eq!(next.ok(), Some(won(1)));
    }
    for completed in complete_all(&store, &holds[8..], &BOOKED).await {
        assert_eq!(completed, Ok(true));
    }
}

/// Steps whose callers do not poll them, and one whose connection has gone dark.
// proves: one-key-takes-pool, deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn statements_that_do_not_end_hold_up_no_others() {
    let Some(direct) = database().await else {
        return;
    };
    let (proxy, url) = behind_a_proxy(&direct).await;
    let store = store(&url).await;
    let (stuck, asked) = ([new_hold(), new_hold()], request());
    let claims = stuck.each_ref().map(|hold| claim(&store, hold, &asked));
    let mut claiming = pin!(join_all(claims));
    assert!(claiming.as_mut().now_or_never().is_none());
    for claimed in claim_all(&store, &many()).await {
        assert_eq!(claimed, Ok(won(1)));
    }
    for claimed in claiming.await {
        assert_eq!(claimed.ok(), Some(won(1)));
    }

    let stuck = new_hold();
    proxy.silence_behind(Box::leak(Box::new(*stuck.id.as_bytes())));
    let mut claiming = pin!(claim(&store, &stuck, &asked));
    assert!(claiming.as_mut().now_or_never().is_none());
    let others = async {
        for _ in 0..10 {
            for claimed in claim_all(&store, &many()).await {
                assert_eq!(claimed, Ok(won(1)));
            }
        }
    };
    tokio::select! {
        biased;
        () = others => {}
        claimed = &mut claiming => panic!("the others have waited: {claimed:?}"),
    }
    let claimed = claiming.await.map_err(|error| error.kind());
    assert_eq!(claimed, Err(StoreErrorKind::Unavailable));
}

/// The task that takes the others is spawned by a dropped claim, on a thread that is then blocked.
// proves: one-key-takes-pool, deaf-store-left-quickly
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_thread_holds_up_no_steps_of_others() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    claim_all(&store, &many()).await;
    let others = many();
    let (begun, has_begun) = oneshot::channel();
    let (all_wait, mut waiting) = mpsc::channel(others.len());
    let (unblock, unblocked) = std::sync::mpsc::channel::<()>();
    let (leaving, count) = (store.clone(), others.len());
    let blocked = tokio::spawn(async move {
        let (holds, asked) = (many(), request());
        // A reply may be there at once, and then the next claim has the turn.
        let claims = holds
            .iter()
            .map(|hold| Box::pin(claim(&leaving, hold, &asked)));
        let pending = claims.filter_map(|mut claiming| {
            let is_pending = (&mut claiming).now_or_never().is_none();
            is_pending.then_some(claiming)
        });
        let claims: Vec<_> = pending.take(2).collect();
        assert_eq!(claims.len(), 2);
        begun.send(()).expect("the test waits");
        for _ in 0..count {
            waiting.recv().await.expect("a step that waits");
        }
        drop(claims);
        unblocked.recv().expect("a word");
    });
    has_begun.await.expect("two turns");
    let mut claims = JoinSet::new();
    for hold in others {
        let (store, waits) = (store.clone(), all_wait.clone());
        claims.spawn(async move {
            let asked = request();
            let mut claiming = pin!(claim(&store, &hold, &asked));
            assert!(claiming.as_mut().now_or_never().is_none());
            waits.send(()).await.expect("the other task counts");
            claiming.await.map_err(|error| error.kind())
        });
    }
    for claimed in claims.join_all().await {
        assert_eq!(claimed, Ok(won(1)));
    }
    unblock.send(()).expect("a blocked thread");
    blocked.await.expect("no panic");
}

/// It has the turns, and more steps than fit in a hundred statements.
// proves: one-key-takes-pool, deaf-store-left-quickly
#[test]
fn a_runtime_that_is_not_driven_holds_up_no_steps_of_others() {
    let runtime = || {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let (idle, driven) = (runtime(), runtime());
    let Some(url) = driven.block_on(database()) else {
        return;
    };
    let store = driven.block_on(async {
        let store = store(&url).await;
        claim_all(&store, &many()).await;
        store
    });
    let asked = request();
    let holds: Vec<_> = (0..6_500).map(|_| new_hold()).collect();
    let claims = holds.iter().map(|hold| claim(&store, hold, &asked));
    let mut claims: Vec<_> = claims.map(Box::pin).collect();
    idle.block_on(async {
        // A reply may be there at once, and then the next claim has the turn.
        claims.retain_mut(|claim| claim.now_or_never().is_none());
    });
    driven.block_on(async {
        for claimed in claim_all(&store, &many()).await {
            assert_eq!(claimed, Ok(won(1)));
        }
    });
    let _within = driven.enter();
    drop(claims);
}

/// A server whose commits take a tenth of a second.
const SLOW_COMMITS: &str = "
    create function slow_down() returns trigger language plpgsql as $$
    begin
        if current_setting('tests.slowed', true) is distinct from txid_current()::text then
            perform set_config('tests.slowed', txid_current()::text, false), pg_sleep(0.1);
        end if;
        return null;
    end $$;
    create constraint trigger slow after insert or update on idempotency_records
        deferrable initially deferred for each row execute function slow_down();
";

/// Two processes claim the same keys, so that one always meets what the other is still committing.
// proves: one-key-takes-pool, concurrent-equals-run-once
#[tokio::test]
async fn slow_commits_take_no_statement_apart() {
    let Some(url) = database().await else { return };
    let (log, _logging) = Log::start_at(Level::DEBUG);
    let stores = [store(&url).await, store(&url).await];
    sql(&url, SLOW_COMMITS).await;
    // They learn how long commits take.
    for store in &stores {
        claim_all(store, &many()).await;
    }
    let before = log.text().len();
    for _ in 0..3 {
        let holds = many();
        let rivals: Vec<_> = holds.iter().map(|hold| hold_on(hold.id)).collect();
        let (one, other) = tokio::join!(
            claim_all(&stores[0], &holds),
            claim_all(&stores[1], &rivals),
        );
        for claims in one.into_iter().zip(other) {
            let in_flight = Ok(Claim::in_flight(request()));
            let is_won_once =
                claims == (Ok(won(1)), in_flight.clone()) || claims == (in_flight, Ok(won(1)));
            assert!(is_won_once, "{claims:?}");
        }
        let booked = BOOKED;
        tokio::join!(
            complete_all(&stores[0], &holds, &booked),
            complete_all(&stores[1], &rivals, &booked),
        );
    }
    let text = log.text();
    let given_up = text[before..].contains("a statement for several keys failed");
    assert!(!given_up, "{}", &text[before..]);
}

/// 64 clients, of which one uses a key that another session is writing, and one has a run whose record is locked.
// proves: one-key-takes-pool, deaf-store-left-quickly, running-duplicate-gets-409
#[tokio::test]
async fn a_locked_key_delays_the_others_once() {
    let Some(url) = database().await else { return };
    let (log, _logging) = Log::start_at(Level::DEBUG);
    let store = store(&url).await;
    let (written, locked) = (new_hold(), new_hold());
    // Two that are locked as well go alone for so long that all others wait behind them.
    let alone = [new_hold(), new_hold()];
    assert_eq!(claim(&store, &locked, &request()).await.ok(), Some(won(1)));
    let mut session = connection(&url).await;
    let records = [&written, &alone[0], &alone[1]]
        .map(|hold| format!("('{}', '', '', 1, now(), 1, now())", hex(hold)));
    let statements = format!(
        "begin;
         insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, lease_until)
         values {};
         select from idempotency_records where id = '{}' for update",
        records.join(", "),
        hex(&locked)
    );
    let locking = raw_sql(AssertSqlSafe(statements)).execute(&mut session);
    locking.await.expect("locks");
    // It goes with some, which lose a moment. From then on it goes alone.
    let mut together = many();
    together[..2].clone_from_slice(&alone);
    together[7] = written.clone();
    for (index, claimed) in claim_all(&store, &together).await.into_iter().enumerate() {
        let expected = if matches!(index, 0 | 1 | 7) {
            Claim::in_flight(request())
        } else {
            won(1)
        };
        assert_eq!(claimed, Ok(expected));
    }
    let mut clients = JoinSet::new();
    for _ in 0..62 {
        let store = store.clone();
        clients.spawn(async move {
            for _ in 0..20 {
                let hold = new_hold();
                assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
                let done = store.complete(&hold, BOOKED).await;
                assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
            }
        });
    }
    let others = async {
        while clients
            .join_next()
            .await
            .transpose()
            .expect("a client")
            .is_some()
        {}
    };
    let retrying = async {
        loop {
            let claimed = claim(&store, &written, &request()).await;
            assert_eq!(claimed.ok(), Some(Claim::in_flight(request())));
        }
    };
    let completing = async {
        loop {
            let refused = store.complete(&locked, BOOKED).await;
            let kind = refused.map_err(|error| error.kind());
            assert_eq!(kind, Err(StoreErrorKind::Unavailable));
        }
    };
    tokio::select! {
        () = others => {}
        never = retrying => never,
        never = completing => never,
    }
    // Meanwhile both were locked. One statement of many keys was given up for that.
    let text = log.text();
    let given_up = text.matches("a statement for several keys failed").count();
    assert_eq!(given_up, 1, "{text}");
    let ended = raw_sql("rollback").execute(&mut session).await;
    ended.expect("an end");
    let done = store.complete(&locked, BOOKED).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let claimed = claim(&store, &written, &request()).await;
    assert_eq!(claimed.ok(), Some(won(1)));
}

/// A commit that fails after a second, by the code of a proxy that has lost the server in the middle of it.
const REFUSE_COMMITS: &str = "
    create function lose() returns trigger language plpgsql as $$
    begin
        perform pg_sleep(1);
        raise exception using errcode = '58000', message = 'the server was lost';
    end $$;
    create constraint trigger lost after insert on idempotency_records
        deferrable initially deferred for each row execute function lose();
";

/// So each claim is withdrawn, although it finds no connection when it goes alone.
// proves: late-claim-holds-key, contention-as-error
#[tokio::test]
async fn claims_whose_common_commit_may_have_happened_count_as_sent() {
    let Some(url) = database().await else { return };
    store(&url).await;
    sql(&url, REFUSE_COMMITS).await;
    let pool = PgPoolOptions::new().max_connections(3);
    let store = PostgresStore::new(pool.connect_lazy(&url).expect("a URL"));
    let (holds, asked) = (many(), request());
    let claims = holds.iter().map(|hold| claim(&store, hold, &asked));
    for claimed in join_all(claims).await {
        let error = claimed.expect_err("no commit is confirmed");
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(error.was_sent(), "{error:?}");
    }
}
