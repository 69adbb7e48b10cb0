//! Claims that are taken back, beside the contract: at the same time as others, and when a reply is lost.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use idempotency::{Claim, Fenced, Fingerprint, OnLost, Phase, Resolution, Store, StoreErrorKind};
use tests::servers::postgres::advance;
use tokio::{sync::Barrier, task::JoinSet};

use super::{behind_a_proxy, database, hold_on, new_hold, request, sql, store};
use crate::{claim, within_a_minute, won};

/// Whichever comes first, the run before the take-over is lost as it was, and the token is spent.
// behaviour 128, 167
// race 74, 77
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_take_over_and_its_withdrawal_leave_the_lost_run() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let mut lost = Vec::new();
    for _ in 0..30 {
        let hold = new_hold();
        claim(&store, &hold, &request()).await.expect("a claim");
        let kept = store.checkpoint(&hold, Bytes::from_static(b"charged"));
        assert_eq!(kept.await.ok(), Some(Fenced::Done(())));
        lost.push(hold);
    }
    advance(&url, lost[0].lease);
    let mut races = JoinSet::new();
    for lost in lost {
        let (store, took, start) = (store.clone(), hold_on(lost.id), Arc::new(Barrier::new(2)));
        races.spawn(async move {
            let claiming = async {
                start.wait().await;
                claim(&store, &took, &request()).await
            };
            let withdrawing = async {
                start.wait().await;
                store.withdraw(&took, &request(), OnLost::TakeOver).await
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
        let left = left.expect("the lost run");
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

/// A step that was done, and whose reply was lost, is sent again by the store, and finds that it was done.
// behaviour 131, 167
// race 5, 77
#[tokio::test]
async fn an_end_whose_reply_is_lost_is_done() {
    let Some(url) = database().await else { return };
    let (proxy, url) = behind_a_proxy(&url).await;
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
        assert_eq!(store.release(&released).await.ok(), Some(Fenced::Done(())));
        assert_eq!(store.release(&released).await.ok(), Some(Fenced::Lost));

        let freed = taken().await;
        lose();
        let resolved = store.resolve(&freed.id, &freed.token, Resolution::Release);
        assert_eq!(resolved.await.ok(), Some(Fenced::Done(())));

        let completed = taken().await;
        lose();
        let resolved = store.resolve(&completed.id, &completed.token, settled());
        assert_eq!(resolved.await.ok(), Some(Fenced::Done(())));
        let resolved = store.resolve(&completed.id, &completed.token, settled());
        assert_eq!(resolved.await.ok(), Some(Fenced::Lost));

        let withdrawn = taken().await;
        lose();
        let asked = request();
        let done = store.withdraw(&withdrawn, &asked, OnLost::TakeOver);
        done.await.expect("a withdrawal");

        for free in [released, freed, withdrawn] {
            let next = hold_on(free.id);
            lose();
            assert_eq!(claim(&store, &next, &request()).await.ok(), Some(won(1)));
        }
    }
}

/// The process that waits hears of it from the server.
// behaviour 74, 167
// race 24
#[tokio::test]
async fn a_waiter_elsewhere_is_woken_by_a_withdrawal() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    for progress in [Bytes::new(), Bytes::from_static(b"charged")] {
        let owner = new_hold();
        claim(&owning, &owner, &request()).await.expect("a claim");
        if !progress.is_empty() {
            let kept = owning.checkpoint(&owner, progress.clone()).await;
            assert_eq!(kept.ok(), Some(Fenced::Done(())));
        }
        let mut subscription = waiting.subscribe(&owner.id);
        let in_flight = Claim::InFlight {
            fingerprint: request(),
        };
        let looked = claim(&waiting, &hold_on(owner.id), &request()).await;
        assert_eq!(looked.ok(), Some(in_flight));
        let awaited = "select awaited from idempotency_records where phase = 1";
        super::until(&url, awaited).await;
        let withdrawn = owning.withdraw(&owner, &request(), OnLost::TakeOver).await;
        withdrawn.expect("a withdrawal");
        within_a_minute("the news", subscription.changed()).await;
        let next = hold_on(owner.id);
        let attempt = 1 + u32::from(!progress.is_empty());
        let won = Claim::Won { attempt, progress };
        assert_eq!(claim(&waiting, &next, &request()).await.ok(), Some(won));
        // Nobody waits for the new owner.
        assert_eq!(waiting.release(&next).await.ok(), Some(Fenced::Done(())));
    }
}

/// Whoever asks for something else is turned away, and may wait for what becomes of the key.
// behaviour 74, 167
#[tokio::test]
async fn what_a_withdrawal_left_can_be_waited_for() {
    let Some(url) = database().await else { return };
    let (owning, waiting) = (store(&url).await, store(&url).await);
    let owner = new_hold();
    claim(&owning, &owner, &request()).await.expect("a claim");
    let kept = owning.checkpoint(&owner, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(Fenced::Done(())));
    let withdrawn = owning.withdraw(&owner, &request(), OnLost::TakeOver).await;
    withdrawn.expect("a withdrawal");
    let mut subscription = waiting.subscribe(&owner.id);
    let other = Fingerprint::of([b"book something else".as_slice()]);
    let refused = claim(&waiting, &hold_on(owner.id), &other).await;
    let fingerprint = request();
    assert_eq!(refused.ok(), Some(Claim::InFlight { fingerprint }));
    let awaited = "select awaited from idempotency_records";
    super::until(&url, awaited).await;
    let resolved = owning.resolve(&owner.id, &owner.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(Fenced::Done(())));
    within_a_minute("the news", subscription.changed()).await;
    let next = claim(&waiting, &hold_on(owner.id), &other).await;
    assert_eq!(next.ok(), Some(won(1)));
}

/// What is left of a spent token goes as any other record does.
// behaviour 113
#[tokio::test]
async fn the_sweep_takes_the_marks_of_spent_tokens() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let hold = new_hold();
    let withdrawn = store.withdraw(&hold, &request(), OnLost::TakeOver).await;
    withdrawn.expect("a withdrawal");
    let records = "select 1 from idempotency_records";
    assert_eq!(sql(&url, records).await.len(), 1);
    assert_eq!(store.purge_expired(10).await.ok(), Some(0));
    advance(&url, hold.lease + hold.ttl);
    assert_eq!(store.purge_expired(10).await.ok(), Some(1));
    assert_eq!(sql(&url, records).await.len(), 0);
}
