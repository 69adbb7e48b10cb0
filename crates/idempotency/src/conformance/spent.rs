//! How long a token stays spent, and what its mark must not undo.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Advance, LEASE, MARGIN, TTL, claim, hold_on, inspect, new_hold,
    renewal::{ROUNDS, concurrently},
    request, taken,
    withdrawal::{is_spent, withdraw},
    won,
};
use crate::{
    Store,
    record::Phase,
    store::{IfOwner, Resolution},
};

/// A spent token is remembered until a claim by it can no longer arrive: for a lease after a release, for a ttl after
/// a suspension or a withdrawn take-over, for both after a withdrawn first claim, and longer after an operator's step.
pub async fn a_spent_token_is_remembered_for_its_time(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let (released, suspended, freed, forgotten) = (
        taken(store, &asked).await,
        taken(store, &asked).await,
        taken(store, &asked).await,
        taken(store, &asked).await,
    );
    let done = store.complete(&forgotten, Bytes::new()).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    for (hold, resolution) in [
        (&freed, Resolution::Release),
        (&forgotten, Resolution::Forget),
    ] {
        let resolved = store.resolve(&hold.id, &hold.token, resolution).await;
        assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
    }
    let lost = new_hold().with_lease(Duration::ZERO);
    assert_eq!(claim(store, &lost, &asked).await, won(1));
    let took = hold_on(lost.id);
    assert_eq!(claim(store, &took, &asked).await, won(2));
    withdraw(store, &took, &asked).await;
    let done = store.suspend(&suspended, Bytes::new()).await;
    assert_eq!(done.ok(), Some(IfOwner::Done(())));
    let (withdrawn, never_arrived) = (taken(store, &asked).await, new_hold());
    for hold in [&withdrawn, &never_arrived] {
        withdraw(store, hold, &asked).await;
    }
    assert_eq!(store.release(&released).await.ok(), Some(IfOwner::Done(())));

    advance(LEASE - MARGIN);
    is_spent(store, &released, &asked).await;
    advance(TTL - LEASE);
    for hold in [&suspended, &took] {
        is_spent(store, hold, &asked).await;
    }
    advance(LEASE);
    for hold in [&withdrawn, &never_arrived, &freed, &forgotten] {
        is_spent(store, hold, &asked).await;
    }
}

/// The mark that a withdrawal leaves in the record of another owner's run undoes no completion of that run.
pub async fn a_withdrawal_undoes_no_completion(store: &Arc<dyn Store>) {
    let asked = request("book");
    let outcome = Bytes::from_static(b"booked");
    for _ in 0..ROUNDS {
        let owner = taken(store, &asked).await;
        let late = hold_on(owner.id);
        let withdrawing = {
            let store = Arc::clone(store);
            async move { store.withdraw(&late, &asked).await }
        };
        let completing = async {
            let completed = store.complete(&owner, outcome.clone()).await;
            assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
        };
        concurrently(withdrawing, completing).await;
        let phase = inspect(store, &owner.id).await.map(|record| record.phase);
        let outcome = outcome.clone();
        assert_eq!(phase, Some(Phase::Completed { outcome }));
    }
}
