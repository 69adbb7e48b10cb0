//! What a store says of itself.

use std::sync::Arc;

use super::{inspect, list, request, taken};
use crate::{Store, store::Verdict};

/// A store that works finds no problem, leaves no record of having looked, and changes none.
pub async fn a_store_that_works_finds_no_problem(store: &Arc<dyn Store>) {
    let owner = taken(store, &request("book")).await;
    let before = inspect(store, &owner.id).await;

    let verification = store.verify().await;
    assert!(
        verification.verdict() < Verdict::Problem,
        "{verification:?}"
    );
    let writable = verification
        .findings
        .iter()
        .find(|finding| finding.check == "writable");
    let writable = writable.map(|finding| finding.verdict);
    assert_eq!(writable, Some(Verdict::Ok), "{verification:?}");

    assert_eq!(inspect(store, &owner.id).await, before);
    let listed = list(store, None, 10).await;
    let ids: Vec<_> = listed.into_iter().map(|record| record.id).collect();
    assert_eq!(ids, [owner.id], "only the record from before");
}
