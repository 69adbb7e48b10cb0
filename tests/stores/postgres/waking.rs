//! How duplicates in one process learn of an end in another: each store here stands for a process.

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use idempotency::{
    Idempotency, OnDuplicate, Options, PostgresStore, Run, Store,
    store::{Claim, Hold},
};
use sqlx::{Row, postgres::PgListener};
use tests::servers::postgres::advance;

use super::{database, hex, hold_on, named, new_hold, pooler, request, sql, store, until};
use crate::{claim, within_a_minute};

const LISTENERS: &str = "
    select count(*) from pg_stat_activity
    where datname = current_database() and query like 'LISTEN%'
";

/// Polls until the server knows that a waiter asks to be notified.
pub(crate) async fn is_awaited(url: &str, waiting: &impl Store, owner: &Hold) {
    let is_awaited = format!(
        "select awaited from idempotency_records where id = '{}'",
        hex(owner)
    );
    let asking = async {
        // A waiter that comes before the store listens does not ask for it.
        while !sql(url, &is_awaited).await[0].get::<bool, _>(0) {
            let polled = claim(waiting, &hold_on(owner.id), &request()).await;
            assert!(matches!(polled, Ok(Claim::InFlight { .. })), "{polled:?}");
        }
    };
    within_a_minute("a waiter that asks", asking).await;
}

/// Polls until the hold has ended, as the engine does.
async fn end_of(store: &PostgresStore, owner: &Hold) {
    let mut subscription = store.subscribe(&owner.id);
    loop {
        match claim(store, &hold_on(owner.id), &request()).await {
            Ok(Claim::InFlight { .. }) => {
                within_a_minute("a notification or a poll", subscription.changed()).await;
            }
            ended => {
                assert!(matches!(ended, Ok(Claim::Completed { .. })), "{ended:?}");
                return;
            }
        }
    }
}

/// The fastest of a few tries is compared with the interval at which notified waiters poll:
/// polling cannot have woken that one. A waiter that began before the store listens polls sooner, and does not count.
// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_end_in_another_process_is_notified() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    let mut fastest = Duration::MAX;
    for is_listening in [false, true, true, true, true] {
        let owner = new_hold();
        claim(&owning, &owner, &request()).await.expect("a claim");
        let waiter = tokio::spawn({
            let (waiting, owner) = (waiting.clone(), owner.clone());
            async move { end_of(&waiting, &owner).await }
        });
        let is_awaited = "select bool_or(awaited) from idempotency_records where phase = 1";
        until(&url, is_awaited).await;
        let ended = Instant::now();
        owning.complete(&owner, Bytes::new()).await.expect("an end");
        waiter.await.expect("the waiter");
        if is_listening {
            fastest = fastest.min(ended.elapsed());
        }
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

/// Commits that notify wait for each other, so a commit notifies only if there is a waiter.
#[tokio::test]
async fn an_end_is_notified_only_if_a_waiter_waits() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let mut listener = PgListener::connect(&url).await.expect("a listener");
    listener.listen("idempotency").await.expect("a channel");

    let alone = new_hold();
    claim(&store, &alone, &request()).await.expect("a claim");
    store.complete(&alone, Bytes::new()).await.expect("an end");
    let awaited = new_hold();
    claim(&store, &awaited, &request()).await.expect("a claim");
    let _subscription = store.subscribe(&awaited.id);
    let running = claim(&store, &hold_on(awaited.id), &request()).await;
    assert!(matches!(running, Ok(Claim::InFlight { .. })), "{running:?}");
    store.release(&awaited).await.expect("an end");

    let first = within_a_minute("a notification", listener.recv()).await;
    let first = first.expect("a notification");
    let id: String = awaited
        .id
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(first.payload(), id);
}

// proves: lost-wakeup-hangs-waiter
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_notification_is_made_up_for_by_polling() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    let owner = new_hold();
    claim(&owning, &owner, &request()).await.expect("a claim");
    let waiter = tokio::spawn({
        let (waiting, owner) = (waiting.clone(), owner.clone());
        async move { end_of(&waiting, &owner).await }
    });
    until(&url, "select awaited from idempotency_records").await;
    let cut = "
        select pg_terminate_backend(pid, 10000) from pg_stat_activity
        where datname = current_database() and query like 'LISTEN%'
    ";
    assert_eq!(sql(&url, cut).await.len(), 1);
    owning.complete(&owner, Bytes::new()).await.expect("an end");
    waiter.await.expect("the waiter");
    // And it listens again.
    let listens = format!("select ({LISTENERS}) = 1");
    until(&url, &listens).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn behind_a_pooler_waiters_poll_and_none_listens() {
    let Some(url) = database().await else { return };
    let Some(pooler) = pooler() else { return };
    let pooled = pooler.url(&url);
    let (owning, waiting) = (store(&pooled).await, store(&pooled).await);
    let owner = new_hold();
    claim(&owning, &owner, &request()).await.expect("a claim");
    let mut subscriptions = [waiting.subscribe(&owner.id), waiting.subscribe(&owner.id)];
    let running = claim(&waiting, &hold_on(owner.id), &request()).await;
    assert!(matches!(running, Ok(Claim::InFlight { .. })), "{running:?}");
    owning.complete(&owner, Bytes::new()).await.expect("an end");
    subscriptions[0].changed().await;
    let replay = claim(&waiting, &hold_on(owner.id), &request()).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
    // One waiter's poll serves the other too.
    let changed = poll_fn(|context| {
        let changed = pin!(subscriptions[1].changed());
        Poll::Ready(changed.poll(context).is_ready())
    });
    assert!(changed.await);
    assert_eq!(sql(&url, LISTENERS).await[0].get::<i64, _>(0), 0);
}

// proves: duplicate-may-wait, dead-owner-taken-over, waiter-ends-hold
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_waiter_takes_over_from_a_process_that_gave_up_or_died() {
    let Some(url) = database().await else { return };
    let owning = store(&url).await;
    let waiting = Idempotency::new(store(&url).await);
    for dies in [false, true] {
        let (scope, key) = named(if dies { "dies" } else { "gives up" });
        let (started, running) = tokio::sync::oneshot::channel();
        // A run of the same request elsewhere, whose hold the test takes for its own.
        let elsewhere = Idempotency::new(owning.clone());
        let run = tokio::spawn({
            let (scope, key) = (scope.clone(), key.clone());
            async move {
                let work = async move {
                    started.send(()).expect("the test");
                    std::future::pending::<Result<String, ()>>().await
                };
                elsewhere.run(&scope, &key, request(), work).await
            }
        });
        running.await.expect("the run");
        let id = waiting.record_id(&scope, &key);
        let record = owning.inspect(&id).await.expect("a reply");
        let mut hold = hold_on(id);
        hold.token = record.expect("the record").token;

        let waiter = tokio::spawn({
            let waiting = waiting.clone();
            async move {
                let options = Options::new().on_duplicate(OnDuplicate::Wait);
                let work = async { Ok::<_, ()>("booked".to_owned()) };
                waiting
                    .run_with(&options, &scope, &key, request(), |_| work)
                    .await
            }
        });
        until(&url, "select bool_or(awaited) from idempotency_records").await;
        if dies {
            advance(&url, hold.lease);
        } else {
            owning.release(&hold).await.expect("a release");
        }
        let taken = waiter.await.expect("the waiter").expect("its value");
        assert_eq!(taken, Run::Executed("booked".to_owned()));
        run.abort();
    }
}
