//! Who gets a key.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    Advance, LEASE, TTL, claim, completed, hold_on, inspect, new_hold, only_winner, request, rush,
    taken, won,
};
use crate::{
    OnLost, Store,
    record::RecordId,
    store::{Claim, IfOwner},
};

/// Of many concurrent claims on an unused key one wins, and the others learn the winner's fingerprint.
pub async fn one_of_many_wins_a_new_key(store: &Arc<dyn Store>) {
    let asked = request("book");
    for _ in 0..10 {
        let id = new_hold().id;
        let winner = only_winner(rush(store, id, asked, OnLost::TakeOver).await, 1, asked);
        let record = inspect(store, &id).await.expect("the winner's record");
        assert_eq!((record.token, record.attempt), (winner.token, 1));
    }
}

/// Of many concurrent claims on a hold whose owner has died, one takes over.
pub async fn one_of_many_wins_a_lapsed_hold(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let dead = taken(store, &asked).await;
    advance(LEASE);
    let winner = only_winner(
        rush(store, dead.id, asked, OnLost::TakeOver).await,
        2,
        asked,
    );
    let record = inspect(store, &dead.id).await.expect("the winner's record");
    assert_eq!((record.token, record.attempt), (winner.token, 2));
}

/// Of many concurrent claims on an expired record, one wins as the first run of a new request.
pub async fn one_of_many_wins_an_expired_record(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let old = completed(store, &request("book"), b"booked").await;
    advance(TTL);
    let asked = request("book something else");
    let winner = only_winner(rush(store, old.id, asked, OnLost::TakeOver).await, 1, asked);
    let record = inspect(store, &old.id).await.expect("the winner's record");
    assert_eq!((record.token, record.fingerprint), (winner.token, asked));
}

/// Claims on different keys do not affect each other, although their requests are equal.
pub async fn different_keys_are_all_won(store: &Arc<dyn Store>) {
    let asked = request("book");
    let mut crowd = JoinSet::new();
    for _ in 0..super::CROWD {
        let store = Arc::clone(store);
        crowd.spawn(async move { claim(&store, &new_hold(), &asked).await });
    }
    for claim in crowd.join_all().await {
        assert_eq!(claim, won(1));
    }
}

/// While a key is claimed and released again and again, every claim gets a result, and there are never two owners.
pub async fn a_key_has_one_owner_at_a_time(store: &Arc<dyn Store>) {
    let asked = request("book");
    let id = new_hold().id;
    let owners = Arc::new(AtomicUsize::new(0));
    let mut crowd = JoinSet::new();
    for _ in 0..16 {
        let (store, owners) = (Arc::clone(store), Arc::clone(&owners));
        crowd.spawn(async move {
            let mut won = 0;
            for _ in 0..20 {
                let hold = hold_on(id);
                match claim(&store, &hold, &asked).await {
                    Claim::Won { attempt, .. } => {
                        assert_eq!(attempt, 1, "a released key starts again at attempt 1");
                        assert_eq!(
                            owners.fetch_add(1, Ordering::SeqCst),
                            0,
                            "there is one owner"
                        );
                        tokio::task::yield_now().await;
                        owners.fetch_sub(1, Ordering::SeqCst);
                        let released = store.release(&hold).await.expect("a release");
                        assert_eq!(released, IfOwner::Done(()));
                        won += 1;
                    }
                    other => assert_eq!(other, Claim::InFlight { fingerprint: asked }),
                }
            }
            won
        });
    }
    let won: usize = crowd.join_all().await.into_iter().sum();
    assert!(won > 0, "at least one claim wins");
    assert_eq!(inspect(store, &id).await, None);
}

/// A living hold refuses all other claims, equal or different, and stays as it is.
pub async fn a_held_key_refuses_every_claim(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let before = inspect(store, &owner.id).await;
    for other in [asked, request("book something else")] {
        assert_eq!(
            claim(store, &hold_on(owner.id), &other).await,
            Claim::InFlight { fingerprint: asked }
        );
        assert_eq!(inspect(store, &owner.id).await, before);
    }
}

/// A lapsed hold is taken over by claims with an equal fingerprint, again and again, and by no others.
pub async fn a_lapsed_hold_goes_to_the_same_request_only(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let dead = taken(store, &asked).await;
    for attempt in [2, 3] {
        advance(LEASE);
        let before = inspect(store, &dead.id).await;
        let other = request("book something else");
        assert_eq!(
            claim(store, &hold_on(dead.id), &other).await,
            Claim::InFlight { fingerprint: asked }
        );
        assert_eq!(inspect(store, &dead.id).await, before);
        assert_eq!(claim(store, &hold_on(dead.id), &asked).await, won(attempt));
        // The new hold is alive.
        assert_eq!(
            claim(store, &hold_on(dead.id), &asked).await,
            Claim::InFlight { fingerprint: asked }
        );
    }
}

/// A claim that is sent again after a lost reply is won again, and does not count as another attempt.
pub async fn a_claim_recognises_its_own_token(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let first = taken(store, &asked).await;
    assert_eq!(claim(store, &first, &asked).await, won(1));
    advance(LEASE);
    let second = hold_on(first.id);
    for _ in 0..2 {
        assert_eq!(claim(store, &second, &asked).await, won(2));
    }
    assert_eq!(
        claim(store, &first, &asked).await,
        Claim::InFlight { fingerprint: asked }
    );
}

/// Every claim gets a completed record, with its fingerprint, and leaves it as it is.
pub async fn a_completed_record_answers_every_claim(store: &Arc<dyn Store>) {
    let asked = request("book");
    let owner = taken(store, &asked).await;
    let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
    let Ok(IfOwner::Done(expires_at)) = completed else {
        panic!("the owner should complete, but got {completed:?}");
    };
    let before = inspect(store, &owner.id).await;
    for (hold, other) in [
        (hold_on(owner.id), asked),
        (hold_on(owner.id), request("book something else")),
        (owner.clone(), asked),
    ] {
        assert_eq!(
            claim(store, &hold, &other).await,
            Claim::Completed {
                fingerprint: asked,
                outcome: Bytes::from_static(b"booked"),
                expires_at,
            }
        );
    }
    assert_eq!(inspect(store, &owner.id).await, before);
}

/// Ids are compared as bytes: nothing in them is a pattern, a separator or a terminator, and case matters.
pub async fn ids_are_compared_byte_by_byte(store: &Arc<dyn Store>) {
    let asked = request("book");
    let mut common = *new_hold().id.as_bytes();
    // None of the bytes below, so that no two ids are equal by chance.
    for place in [0, 15, 31] {
        common[place] = 1;
    }
    let mut ids = Vec::new();
    for byte in [
        0, b'%', b'*', b'/', b':', b'?', b'A', b'_', b'a', 0x80, 0xff,
    ] {
        for place in [0, 15, 31] {
            let mut id = common;
            id[place] = byte;
            ids.push(RecordId::from_bytes(id));
        }
        ids.push(RecordId::from_bytes([byte; 32]));
    }
    for id in &ids {
        assert_eq!(claim(store, &hold_on(*id), &asked).await, won(1));
    }
    for id in &ids {
        let record = inspect(store, id).await.expect("a record of its own");
        assert_eq!(record.id, *id);
    }
}
