//! What a store owes that wraps another. A store without a wrapped one fulfils it trivially.

use std::sync::Arc;

use bytes::Bytes;

use super::{claim, hold_on, inspect, list, operators::noise, request, taken};
use crate::{
    Store,
    record::Phase,
    store::{
        Claim, ClaimRequest, IfOwner, OnLost,
        transaction::{encode_through, innermost},
    },
};

/// A record that a run's own transaction wrote, bypassing all wrappers, is read back unchanged through them. So is the
/// longest outcome, which has to fit into the store behind them.
pub async fn what_a_transaction_writes_is_read_back(store: &Arc<dyn Store>) {
    let asked = request("book");
    let behind = innermost(store.as_ref());
    for outcome in [
        Bytes::new(),
        Bytes::from_static(b"booked"),
        noise(store.outcome_limit().min(1 << 20)),
    ] {
        let owner = taken(store, &asked).await;
        let written = encode_through(store.as_ref(), &owner.id, outcome.clone());
        let written = behind
            .complete(&owner, written.expect("an encoded outcome"))
            .await;
        assert!(matches!(written, Ok(IfOwner::Done(_))), "{written:?}");

        let Claim::Completed { outcome: kept, .. } = claim(store, &hold_on(owner.id), &asked).await
        else {
            panic!("the record should be completed");
        };
        assert!(
            kept == outcome,
            "{} bytes are replayed unchanged",
            outcome.len()
        );
        let retry = hold_on(owner.id);
        let request = ClaimRequest::new(&retry, &asked, OnLost::TakeOver);
        if let Some(claimed) = store.claim_now(request) {
            assert!(
                matches!(claimed, Ok(Claim::Completed { outcome: kept, .. }) if kept == outcome),
                "a claim without a future gets the same bytes"
            );
        }
        let phase = inspect(store, &owner.id).await.map(|record| record.phase);
        let completed = Phase::Completed { outcome };
        assert!(
            phase.as_ref() == Some(&completed),
            "an inspection returns the same bytes"
        );
        let listed = list(store, None, 10).await;
        let listed = listed.into_iter().find(|record| record.id == owner.id);
        let phase = listed.map(|record| record.phase);
        assert!(phase == Some(completed), "a list returns the same bytes");
    }
}
