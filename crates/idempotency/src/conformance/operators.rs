//! What operators and the sweep see and do, and what is stored.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{sync::Barrier, task::JoinSet};

use super::{
    Advance, CROWD, LEASE, MARGIN, TTL, claim, completed, fencing::is_shut_out, hold_on, inspect,
    list, request, taken, won,
};
use crate::{
    Store,
    record::{Phase, RecordId, Token},
    store::{Claim, IfOwner, Resolution, StoreErrorKind},
};

/// Outcomes are opaque: an empty one, text, every byte value, and a megabyte of noise, or as much as the store's limit
/// allows, are returned unchanged.
pub async fn outcomes_come_back_byte_for_byte(store: &Arc<dyn Store>) {
    let asked = request("book");
    let every_byte: Vec<u8> = (0..=255).collect();
    for outcome in [
        Bytes::new(),
        Bytes::from_static(b"{\"b\":1,  \"a\":2.0}\r\n"),
        every_byte.into(),
        noise(store.outcome_limit().min(1 << 20)),
    ] {
        let owner = taken(store, &asked).await;
        let done = store.complete(&owner, outcome.clone()).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
        let replay = claim(store, &hold_on(owner.id), &asked).await;
        let Claim::Completed { outcome: kept, .. } = replay else {
            panic!("the record should be completed");
        };
        assert!(
            kept == outcome,
            "{} bytes are replayed unchanged",
            outcome.len()
        );
        let phase = inspect(store, &owner.id).await.map(|record| record.phase);
        let kept = Phase::Completed { outcome };
        assert!(phase == Some(kept), "an inspection returns the same bytes");
    }
}

/// An outcome or progress above the store's limit is refused, and the hold stays as it was. A limit above 64 MiB is not
/// tested.
pub async fn an_outcome_above_the_limit_is_refused(store: &Arc<dyn Store>) {
    let limit = store.outcome_limit();
    if limit > 1 << 26 {
        return;
    }
    let owner = taken(store, &request("book")).await;
    let before = inspect(store, &owner.id).await;
    let too_long = Bytes::from(vec![0; limit + 1]);
    let resolution = Resolution::Complete {
        outcome: too_long.clone(),
        ttl: TTL,
    };
    for refused in [
        store.complete(&owner, too_long.clone()).await.map(drop),
        store.suspend(&owner, too_long).await.map(drop),
        store
            .resolve(&owner.id, &owner.token, resolution)
            .await
            .map(drop),
    ] {
        let kind = refused.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::TooLarge));
    }
    assert_eq!(inspect(store, &owner.id).await, before);
    let done = store.complete(&owner, Bytes::new()).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

/// An inspection returns the record's owner, fingerprint, attempt, and time of expiry.
pub async fn inspection_shows_the_whole_record(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let running = inspect(store, &owner.id).await.expect("the record");
    assert_eq!(running.id, owner.id);
    assert_eq!(running.token, owner.token);
    assert_eq!(running.fingerprint, asked);
    assert_eq!(running.attempt, 1);
    let Phase::InFlight {
        lease_until,
        progress,
    } = running.phase
    else {
        panic!("the record should be in flight, but is {:?}", running.phase);
    };
    assert_eq!(progress, Bytes::new());
    assert_eq!(running.expires_at, lease_until + TTL);

    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    let ended = inspect(store, &owner.id).await.expect("the record");
    assert_eq!(done.ok(), Some(IfOwner::Done(ended.expires_at)));
    assert_eq!((ended.id, ended.fingerprint), (owner.id, asked));
    assert_eq!((ended.token, ended.attempt), (owner.token, 1));
    let outcome = Bytes::from_static(b"booked");
    assert_eq!(ended.phase, Phase::Completed { outcome });
}

/// A list shows every record once, in the order of ids, page after page, and as it is stored.
pub async fn a_list_pages_in_the_order_of_ids(store: &Arc<dyn Store>) {
    let asked = request("book");
    assert_eq!(list(store, None, 10).await, []);
    let mut ids = Vec::new();
    for number in 0..20 {
        let hold = match number % 2 {
            0 => taken(store, &asked).await,
            _ => completed(store, &asked, b"booked").await,
        };
        ids.push(hold.id);
    }
    ids.sort_unstable();
    let mut listed: Vec<RecordId> = Vec::new();
    loop {
        let page = list(store, listed.last(), 7).await;
        assert!(page.len() <= 7, "a page holds at most its limit");
        assert!(
            page.iter().all(|record| listed.last() < Some(&record.id)),
            "a page begins after the previous one"
        );
        for record in &page {
            assert_eq!(inspect(store, &record.id).await.as_ref(), Some(record));
        }
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|record| record.id));
    }
    assert_eq!(listed, ids);
    assert_eq!(list(store, None, 0).await, []);
}

/// A resolution ends the hold of the owner that the operator has seen, even while it is alive, and no other hold.
pub async fn a_resolution_ends_the_hold_that_was_seen(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let before = inspect(store, &owner.id).await;
    for resolution in [
        Resolution::Release,
        Resolution::Complete {
            outcome: Bytes::from_static(b"other"),
            ttl: TTL,
        },
    ] {
        let resolved = store.resolve(&owner.id, &Token::random(), resolution).await;
        assert_eq!(resolved.ok(), Some(IfOwner::NotOwner));
        assert_eq!(inspect(store, &owner.id).await, before);
    }
    let released = store.resolve(&owner.id, &owner.token, Resolution::Release);
    assert_eq!(released.await.ok(), Some(IfOwner::Done(())));
    assert_eq!(inspect(store, &owner.id).await, None);
    is_shut_out(store, &owner).await;
}

/// If an owner completes while an operator releases its hold, one of them loses and learns it.
pub async fn either_the_owner_or_an_operator_ends_a_hold(store: &Arc<dyn Store>) {
    let outcome = Bytes::from_static(b"booked");
    for _ in 0..20 {
        let owner = taken(store, &request("book")).await;
        let start = Arc::new(Barrier::new(2));
        let resolving = tokio::spawn({
            let (store, start) = (Arc::clone(store), Arc::clone(&start));
            let owner = owner.clone();
            async move {
                start.wait().await;
                let release = Resolution::Release;
                store.resolve(&owner.id, &owner.token, release).await
            }
        });
        start.wait().await;
        let completed = store.complete(&owner, outcome.clone()).await;
        let resolved = resolving.await.expect("the operator");
        let phase = inspect(store, &owner.id).await.map(|record| record.phase);
        match completed.expect("a completion") {
            IfOwner::Done(_) => {
                assert_eq!(resolved.ok(), Some(IfOwner::NotOwner));
                let outcome = outcome.clone();
                assert_eq!(phase, Some(Phase::Completed { outcome }));
            }
            IfOwner::NotOwner => {
                assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
                assert_eq!(phase, None);
            }
        }
    }
}

/// An operator's outcome is replayed for its own ttl, and the owner that was given up can neither end nor repeat
/// anything.
pub async fn a_resolution_shuts_the_old_owner_out(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    advance(LEASE);
    let resolution = Resolution::Complete {
        outcome: Bytes::from_static(b"settled by hand"),
        ttl: 2 * TTL,
    };
    let resolved = store.resolve(&owner.id, &owner.token, resolution).await;
    assert_eq!(resolved.ok(), Some(IfOwner::Done(())));
    is_shut_out(store, &owner).await;
    advance(2 * TTL - MARGIN);
    let replay = claim(store, &hold_on(owner.id), &asked).await;
    let Claim::Completed { outcome, .. } = replay else {
        panic!("the record should be completed, but the claim got {replay:?}");
    };
    assert_eq!(outcome, "settled by hand");
    advance(MARGIN);
    assert_eq!(inspect(store, &owner.id).await, None);
}

/// A sweep removes expired records, at most as many as its limit, and leaves the others as they are: living holds,
/// lapsed holds, and outcomes within their ttl.
///
/// The number of removed records is not checked against the number of expired ones, because a server may have removed
/// some itself.
pub async fn a_sweep_takes_expired_records_only(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let mut expired = Vec::new();
    for _ in 0..10 {
        expired.push(completed(store, &asked, b"booked").await.id);
    }
    advance(TTL - LEASE);
    let lapsed = taken(store, &asked).await;
    advance(LEASE);
    let kept = [
        lapsed.id,
        taken(store, &asked).await.id,
        completed(store, &asked, b"booked").await.id,
    ];
    let mut before = Vec::new();
    for id in &kept {
        before.push(inspect(store, id).await.expect("a record"));
    }
    let mut removed = 0;
    loop {
        let batch = store.purge_expired(4).await.expect("a sweep");
        assert!(batch <= 4, "a sweep removes at most its limit");
        removed += batch;
        assert!(removed <= expired.len(), "only expired records are removed");
        if batch == 0 {
            break;
        }
    }
    for record in before {
        assert_eq!(inspect(store, &record.id).await, Some(record));
    }
    assert_eq!(claim(store, &hold_on(lapsed.id), &asked).await, won(2));
}

/// A sweep that races with a claim on an expired record removes the old record or nothing, never the new one.
pub async fn a_sweep_takes_no_fresh_claim_away(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let mut ids = Vec::new();
    for _ in 0..CROWD {
        ids.push(completed(store, &asked, b"booked").await.id);
    }
    advance(TTL);
    let mut sweeps = JoinSet::new();
    for _ in 0..CROWD {
        let store = Arc::clone(store);
        sweeps.spawn(async move { store.purge_expired(2).await.expect("a sweep") });
    }
    let mut claims = JoinSet::new();
    for id in ids {
        let store = Arc::clone(store);
        claims.spawn(async move {
            let hold = hold_on(id);
            assert_eq!(claim(&store, &hold, &asked).await, won(1));
            hold
        });
    }
    let owners = claims.join_all().await;
    let removed: usize = sweeps.join_all().await.into_iter().sum();
    assert!(removed <= CROWD, "no record is removed twice");
    for owner in owners {
        let record = inspect(store, &owner.id).await.expect("the new record");
        assert_eq!(record.token, owner.token);
        let done = store.complete(&owner, Bytes::from_static(b"again")).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    }
}

/// Bytes without a pattern, always the same ones.
pub(super) fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}
