//! Steps of many requests at once, which a store may take together.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::future::join_all;
use idempotency::{
    Store,
    store::{Claim, Hold, IfOwner, StoreErrorKind},
};

use crate::holds::{claim, hold_on, new_hold, request, won};

/// What a run stores.
pub(crate) const BOOKED: Bytes = Bytes::from_static(b"booked");

/// Other claims of the same keys.
pub(crate) fn rivals(holds: &[Hold]) -> Vec<Hold> {
    holds.iter().map(|hold| hold_on(hold.id)).collect()
}

/// Claims these keys at once: the first ones go alone, and the others together behind them.
pub(crate) async fn claim_all(
    store: &impl Store,
    holds: &[Hold],
) -> Vec<Result<Claim, StoreErrorKind>> {
    let claims = holds.iter().map(|hold| async {
        let claimed = claim(store, hold, &request()).await;
        claimed.map_err(|error| error.kind())
    });
    all_at_once(claims).await
}

/// Whether each was the owner.
pub(crate) async fn complete_all(
    store: &impl Store,
    holds: &[Hold],
    outcome: &Bytes,
) -> Vec<Result<bool, StoreErrorKind>> {
    let completions = holds.iter().map(|hold| async {
        let completed = store.complete(hold, outcome.clone()).await;
        let is_done = completed.map(|done| matches!(done, IfOwner::Done(_)));
        is_done.map_err(|error| error.kind())
    });
    all_at_once(completions).await
}

/// Whether there is a record of each, by this owner.
pub(crate) async fn look_at_all(
    store: &impl Store,
    holds: &[Hold],
) -> Vec<Result<bool, StoreErrorKind>> {
    let looks = holds.iter().map(|hold| async {
        let looked = store.inspect(&hold.id).await;
        let is_its_own = looked.map(|record| {
            record.is_some_and(|record| (record.id, record.token) == (hold.id, hold.token))
        });
        is_its_own.map_err(|error| error.kind())
    });
    all_at_once(looks).await
}

/// Polls all of them before it polls one again, so that each arrives before the first can end. `join_all` does that with few.
async fn all_at_once<T>(steps: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    const FEW: usize = 16;
    let (mut groups, mut steps) = (Vec::new(), steps.peekable());
    while steps.peek().is_some() {
        groups.push(join_all(steps.by_ref().take(FEW)));
    }
    join_all(groups).await.into_iter().flatten().collect()
}

#[track_caller]
pub(crate) fn assert_all<T: PartialEq + Debug>(results: &[T], expected: &T) {
    assert!(results.iter().all(|it| it == expected), "{results:?}");
}

/// Each record belongs to another owner, another request, or to no one.
pub(crate) async fn each_step_gets_what_its_own_record_says(store: &impl Store, holds: Vec<Hold>) {
    // Several claims of each key, which go together and apart.
    let contenders: Vec<_> = (0..4).flat_map(|_| rivals(&holds)).collect();
    let claimed = claim_all(store, &contenders).await;
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
    // Those who do not own their keys change nothing, beside those who do.
    let all: Vec<_> = losers.iter().chain(&winners).cloned().collect();
    let completed = complete_all(store, &all, &BOOKED).await;
    let (by_losers, by_winners) = completed.split_at(losers.len());
    assert_all(by_losers, &Ok(false));
    assert_all(by_winners, &Ok(true));
    // A completion that is sent again is recognised.
    assert_all(&complete_all(store, &winners, &BOOKED).await, &Ok(true));
    for claimed in claim_all(store, &rivals(&winners)).await {
        let Ok(Claim::Completed { outcome, .. }) = claimed else {
            panic!("{claimed:?}");
        };
        assert_eq!(outcome, BOOKED);
    }
    winners.push(new_hold());
    let mut looked = look_at_all(store, &winners).await;
    assert_eq!(looked.pop(), Some(Ok(false)), "there is no record");
    assert_all(&looked, &Ok(true));
}
