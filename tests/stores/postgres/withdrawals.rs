//! Withdrawn claims, in addition to the contract: concurrent ones, and lost replies.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use idempotency::{
    Fingerprint, Store,
    store::{Claim, Hold, IfOwner, Phase, Resolution, StoreErrorKind},
};
use sqlx::Row;
use tests::servers::postgres::advance;
use tokio::{sync::Barrier, task::JoinSet};

use super::{behind_a_proxy, database, hold_on, new_hold, request, sql, store};
use crate::{claim, paused_time::PausedTime, within_a_minute, won};

/// In either order, the run before the take-over stays suspended, and the token is spent.
// proves: dead-owner-taken-over, dropped-future-loses-nothing, dropped-retry-deletes-steps
// proves: late-claim-holds-key
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_take_over_and_its_withdrawal_leave_the_suspended_run() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let mut suspended = Vec::new();
    for _ in 0..30 {
        let hold = new_hold();
        claim(&store, &hold, &request()).await.expect("a claim");
        let done = store.suspend(&hold, Bytes::from_static(b"charged"));
        assert_eq!(done.await.ok(), Some(IfOwner::Done(())));
        suspended.push(hold);
    }
    let mut races = JoinSet::new();
    for run in suspended {
        let (store, took, start) = (store.clone(), hold_on(run.id), Arc::new(Barrier::new(2)));
        races.spawn(async move {
            let claiming = async {
                start.wait().await;
                claim(&store, &took, &request()).await
            };
            let withdrawing = async {
                start.wait().await;
                store.withdraw(&took, &request()).await
            };
            let (claimed, withdrawn) = tokio::join!(claiming, withdrawing);
            withdrawn.expect("a withdrawal");
            match claimed {
                Ok(claim) => assert!(matches!(claim, Claim::Won { attempt: 2, .. }), "{claim:?}"),
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::Withdrawn),
            }
            took
        });
    }
    for took in races.join_all().await {
        let spent = claim(&store, &took, &request()).await;
        let kind = spent.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
        let left = store.inspect(&took.id).await.expect("an inspection");
        let left = left.expect("the suspended run");
        assert_eq!(left.attempt, 1);
        let Phase::InFlight { progress, .. } = &left.phase else {
            panic!("{left:?}");
        };
        assert_eq!(progress, "charged");
        let next = claim(&store, &hold_on(took.id), &request()).await;
        assert!(
            matches!(next, Ok(Claim::Won { attempt: 2, .. })),
            "{next:?}"
        );
    }
}

/// The store resends a step whose reply was lost, and the second one finds that the step was done.
// proves: failed-completion-keeps-key, dropped-future-loses-nothing, own-claim-unrecognised
// proves: late-claim-holds-key
#[tokio::test]
async fn an_end_whose_reply_is_lost_is_done() {
    let Some(direct) = database().await else {
        return;
    };
    let (proxy, url) = behind_a_proxy(&direct).await;
    let store = store(&url).await;
    let settled = || Resolution::Complete {
        outcome: Bytes::from_static(b"settled by hand"),
        ttl: Duration::from_secs(60),
    };
    for is_lost in [false, true] {
        // The first round prepares the statements, so that each step of the second one is a single request.
        let lose = || {
            if is_lost {
                proxy.lose_the_next_reply();
            }
        };
        let taken = async || {
            let hold = new_hold();
            assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won(1)));
            hold
        };
        let released = taken().await;
        lose();
        assert_eq!(store.release(&released).await.ok(), Some(IfOwner::Done(())));
        assert_eq!(store.release(&released).await.ok(), Some(IfOwner::NotOwner));

        let freed = taken().await;
        lose();
        let resolved = store.resolve(&freed.id, &freed.token, Resolution::Release);
        assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));

        let completed = taken().await;
        lose();
        let resolved = store.resolve(&completed.id, &completed.token, settled());
        assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
        let resolved = store.resolve(&completed.id, &completed.token, settled());
        assert_eq!(resolved.await.ok(), Some(IfOwner::NotOwner));

        let withdrawn = taken().await;
        lose();
        let asked = request();
        let done = store.withdraw(&withdrawn, &asked);
        done.await.expect("a withdrawal");
        // The mark is put on the other record, once.
        let late = hold_on(withdrawn.id);
        lose();
        let done = store.withdraw(&late, &asked);
        done.await.expect("a withdrawal");
        let marked = "select octet_length(spent) from idempotency_records where attempt = 0 and spent is not null";
        let marked = sql(&direct, marked).await;
        assert_eq!(marked.len(), 1);
        assert_eq!(marked[0].get::<i32, _>(0), 16);

        let suspended = taken().await;
        let progress = Bytes::from_static(b"charged");
        lose();
        let done = store.checkpoint(&suspended, progress.clone()).await;
        assert_eq!(done.ok(), Some(IfOwner::Done(())));
        lose();
        let done = store.suspend(&suspended, progress.clone()).await;
        assert_eq!(done.ok(), Some(IfOwner::Done(())));
        let next = hold_on(suspended.id);
        lose();
        let taken_over = claim(&store, &next, &asked).await;
        let attempt = 2;
        assert_eq!(taken_over.ok(), Some(Claim::won(attempt, progress)));

        for free in [released, freed, withdrawn] {
            let next = hold_on(free.id);
            lose();
            assert_eq!(claim(&store, &next, &request()).await.ok(), Some(won(1)));
        }
    }
}

/// The server notifies the waiting process before it polls.
// proves: duplicate-may-wait, dropped-future-loses-nothing, lost-wakeup-hangs-waiter
#[tokio::test]
async fn a_waiter_elsewhere_is_woken_by_a_withdrawal() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    for progress in [Bytes::new(), Bytes::from_static(b"charged")] {
        let owner = new_hold();
        claim(&owning, &owner, &request()).await.expect("a claim");
        if !progress.is_empty() {
            let kept = owning.checkpoint(&owner, progress.clone()).await;
            assert_eq!(kept.ok(), Some(IfOwner::Done(())));
        }
        let mut subscription = waiting.subscribe(&owner.id);
        let in_flight = Claim::in_flight(request());
        let looked = claim(&waiting, &hold_on(owner.id), &request()).await;
        assert_eq!(looked.ok(), Some(in_flight));
        let awaited = "select awaited from idempotency_records where phase = 1";
        super::until(&url, awaited).await;
        let paused = PausedTime::pause();
        let withdrawn = owning.withdraw(&owner, &request()).await;
        withdrawn.expect("a withdrawal");
        subscription.changed().await;
        paused.resume();
        let next = hold_on(owner.id);
        let attempt = 1 + u32::from(!progress.is_empty());
        let won = Claim::won(attempt, progress);
        assert_eq!(claim(&waiting, &next, &request()).await.ok(), Some(won));
        // There is no waiter for the new owner.
        assert_eq!(waiting.release(&next).await.ok(), Some(IfOwner::Done(())));
    }
}

/// A release whose reply was lost finds its token after another one, and still counts as done.
// proves: failed-completion-keeps-key, dropped-future-loses-nothing, own-claim-unrecognised
// proves: late-claim-holds-key
#[tokio::test]
async fn a_release_whose_mark_was_marked_again_is_done() {
    let Some(direct) = database().await else {
        return;
    };
    let (proxy, url) = behind_a_proxy(&direct).await;
    let (store, other) = (store(&url).await, store(&direct).await);
    for is_delayed in [false, true] {
        let owner = new_hold();
        claim(&store, &owner, &request()).await.expect("a claim");
        // The first round prepares the statements.
        if is_delayed {
            sql(&direct, MARK_AGAIN).await;
            proxy.lose_the_next_reply();
        }
        let released = store.release(&owner).await;
        assert_eq!(released.ok(), Some(IfOwner::Done(())));
        if is_delayed {
            let tokens = "select token, spent from idempotency_records where spent is not null";
            let marks = sql(&direct, tokens).await;
            assert_eq!(marks.len(), 1);
            assert_eq!(marks[0].get::<Vec<u8>, _>(1), owner.token.as_bytes());
        }
        let late = claim(&other, &owner, &request()).await;
        let kind = late.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    }
}

/// As soon as a mark is left, another token is added to it.
const MARK_AGAIN: &str = "
    create function mark_again() returns trigger language plpgsql as $$
    begin
        new.spent := new.token;
        new.token := decode(md5(random()::text), 'hex');
        return new;
    end
    $$;
    create trigger mark_again before update on idempotency_records for each row
        when (old.attempt > 0 and new.attempt = 0) execute function mark_again();
";

// proves: store-clock-decides, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_mark_has_the_last_tokens_and_the_longest_time() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let long = new_hold();
    let mut holds = vec![long.clone()];
    holds.resize_with(12, || hold_on(long.id).with_ttl(Duration::from_secs(1)));
    let withdraw = async |hold: &Hold| {
        let withdrawn = store.withdraw(hold, &request()).await;
        withdrawn.expect("a withdrawal");
    };
    for hold in &holds {
        withdraw(hold).await;
    }
    advance(&url, long.lease + long.ttl / 2);
    let left = "select octet_length(spent) from idempotency_records";
    for hold in &holds[3..] {
        let late = claim(&store, hold, &request()).await;
        let kind = late.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
        withdraw(hold).await;
        assert_eq!(sql(&url, left).await[0].get::<i32, _>(0), 8 * 16);
    }
    // The earliest token is dropped. A run under this key keeps the others.
    for _ in 0..2 {
        let claimed = claim(&store, &holds[2], &request()).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        assert_eq!(sql(&url, left).await[0].get::<i32, _>(0), 8 * 16);
    }
    let completed = store.complete(&holds[2], Bytes::from_static(b"booked"));
    completed.await.expect("a completion");
    let left = sql(&url, left).await[0].get::<Option<i32>, _>(0);
    assert_eq!(left, None);
}

/// An expired mark has no effect, so its tokens are not copied to the next one.
// proves: dropped-future-loses-nothing
#[tokio::test]
async fn a_mark_past_its_time_hands_no_tokens_on() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let first = new_hold();
    let later = [hold_on(first.id), hold_on(first.id)];
    for hold in [&first, &later[0]] {
        let withdrawn = store.withdraw(hold, &request()).await;
        withdrawn.expect("a withdrawal");
    }
    advance(&url, first.lease + first.ttl);
    let withdrawn = store.withdraw(&later[1], &request()).await;
    withdrawn.expect("a withdrawal");
    let late = claim(&store, &later[1], &request()).await;
    let kind = late.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    let claimed = claim(&store, &first, &request()).await;
    assert_eq!(claimed.ok(), Some(won(1)));
}

/// The server notifies the waiting process, which continues where the other ended.
// proves: duplicate-may-wait, downstream-key-derived, lost-wakeup-hangs-waiter
#[tokio::test]
async fn a_waiter_elsewhere_is_woken_by_a_suspension() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    let owner = new_hold();
    claim(&owning, &owner, &request()).await.expect("a claim");
    let mut subscription = waiting.subscribe(&owner.id);
    let fingerprint = request();
    let looked = claim(&waiting, &hold_on(owner.id), &request()).await;
    assert_eq!(looked.ok(), Some(Claim::in_flight(fingerprint)));
    super::until(&url, "select awaited from idempotency_records").await;
    let progress = Bytes::from_static(b"charged");
    let suspended = owning.suspend(&owner, progress.clone()).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    within_a_minute("the news", subscription.changed()).await;
    let next = claim(&waiting, &hold_on(owner.id), &request()).await;
    let attempt = 2;
    assert_eq!(next.ok(), Some(Claim::won(attempt, progress)));
}

/// A different request is refused, or may wait for the key's outcome.
// proves: duplicate-may-wait, dropped-future-loses-nothing
#[tokio::test]
async fn what_a_withdrawal_left_can_be_waited_for() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    let owner = new_hold();
    claim(&owning, &owner, &request()).await.expect("a claim");
    let kept = owning.checkpoint(&owner, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    let withdrawn = owning.withdraw(&owner, &request()).await;
    withdrawn.expect("a withdrawal");
    let mut subscription = waiting.subscribe(&owner.id);
    let other = Fingerprint::of([b"book something else".as_slice()]);
    let refused = claim(&waiting, &hold_on(owner.id), &other).await;
    let fingerprint = request();
    assert_eq!(refused.ok(), Some(Claim::in_flight(fingerprint)));
    let awaited = "select awaited from idempotency_records";
    super::until(&url, awaited).await;
    let resolved = owning.resolve(&owner.id, &owner.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    within_a_minute("the news", subscription.changed()).await;
    let next = claim(&waiting, &hold_on(owner.id), &other).await;
    assert_eq!(next.ok(), Some(won(1)));
}

/// The mark of a spent token is swept like any record.
// proves: store-clock-decides
#[tokio::test]
async fn the_sweep_takes_the_marks_of_spent_tokens() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let hold = new_hold();
    let withdrawn = store.withdraw(&hold, &request()).await;
    withdrawn.expect("a withdrawal");
    let records = "select 1 from idempotency_records";
    assert_eq!(sql(&url, records).await.len(), 1);
    assert_eq!(store.purge_expired(10).await.ok(), Some(0));
    advance(&url, hold.lease + hold.ttl);
    assert_eq!(store.purge_expired(10).await.ok(), Some(1));
    assert_eq!(sql(&url, records).await.len(), 0);
}
