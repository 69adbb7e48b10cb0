//! A record's labels and times through each step, and what operators do with them.

use bytes::Bytes;
use idempotency::{
    Fingerprint, Store,
    store::{
        Claim, Hold, IfOwner, Labels, ListRequest, ListedPhase, Phase, Record, RecordId,
        Resolution, StoreErrorKind, Token,
    },
};

use crate::{claim, holds::new_hold, won};

/// Takes a key with labels that a store might corrupt through every transition.
pub(crate) async fn every_step_keeps_the_labels(store: &impl Store) {
    let long_route = format!("POST /{}/{{id}}", "hotels/".repeat(150));
    let long_label = "\u{1f6cf}".repeat(32);
    for (route, label) in [
        (None, None),
        (Some("POST /bookings"), None),
        (None, Some("")),
        (
            Some(r#"PUT /"a"/{b}'\"#),
            Some("Zo\u{eb} 'Quote' \"\u{623}\u{62d}\u{645}\u{62f}\" ; -- %_*"),
        ),
        (Some("A /b\0c\r\n"), Some("\0\u{1}\u{10ffff}")),
        (Some(&*long_route), Some(&*long_label)),
    ] {
        let labels = Labels::new(route, label);
        let hold = new_hold().with_labels(labels.clone());
        keeps_its_labels(store, &hold, &labels).await;
    }
}

async fn keeps_its_labels(store: &impl Store, hold: &Hold, labels: &Labels) {
    let asked = Fingerprint::of([b"book".as_slice()]);
    assert_eq!(claim(store, hold, &asked).await.ok(), Some(won(1)));
    let begun = inspect(store, hold).await;
    assert_eq!(begun.labels, *labels);
    assert_eq!(begun.completed_at, None);
    assert!(begun.created_at.is_some());
    let check = async |attempt| {
        let record = inspect(store, hold).await;
        assert_eq!(record.labels, *labels);
        assert_eq!(record.created_at, begun.created_at);
        assert_eq!(record.attempt, attempt);
        record
    };
    let other = || {
        let labels = Labels::new(Some("GET /other"), Some("another"));
        hold.clone().with_token(Token::random()).with_labels(labels)
    };
    let withdraw = async |hold: &Hold| {
        let withdrawn = store.withdraw(hold, &asked).await;
        withdrawn.expect("a withdrawal");
    };

    assert_eq!(store.renew(hold).await.ok(), Some(IfOwner::Done(())));
    check(1).await;
    let charged = Bytes::from_static(b"charged");
    let kept = store.checkpoint(hold, charged.clone()).await;
    assert_eq!(kept.ok(), Some(IfOwner::Done(())));
    check(1).await;
    withdraw(&other()).await;
    check(1).await;
    let suspended = store.suspend(hold, charged.clone()).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    check(1).await;
    let second = other();
    let taken_over = Claim::won(2, charged.clone());
    let claimed = claim(store, &second, &asked).await;
    assert_eq!(claimed.ok(), Some(taken_over.clone()));
    check(2).await;
    withdraw(&second).await;
    check(1).await;
    let third = other();
    let claimed = claim(store, &third, &asked).await;
    assert_eq!(claimed.ok(), Some(taken_over));
    let completed = store.complete(&third, Bytes::from_static(b"booked")).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    let completed = check(2).await;
    assert!(completed.completed_at >= begun.created_at);
    let outcome = Bytes::from_static(b"withdrawn by law");
    let replace = Resolution::Replace {
        outcome: outcome.clone(),
    };
    let replaced = store.resolve(&hold.id, &third.token, replace).await;
    assert_eq!(replaced.ok(), Some(IfOwner::Done(())));
    let mut expected = completed;
    expected.phase = Phase::Completed { outcome };
    assert_eq!(check(2).await, expected);
    if let Some(label) = labels.label() {
        let listed = store.list(&ListRequest::new(10).labelled(label)).await;
        let listed = listed.expect("a list").into_iter().map(|listed| listed.id);
        assert_eq!(listed.collect::<Vec<_>>(), [hold.id], "{label:?}");
    }

    let forgotten = store.resolve(&hold.id, &third.token, Resolution::Forget);
    assert_eq!(forgotten.await.ok(), Some(IfOwner::Done(())));
    let next = other();
    assert_eq!(claim(store, &next, &asked).await.ok(), Some(won(1)));
    let record = inspect(store, &next).await;
    assert_eq!(record.labels, next.labels);
    assert!(record.created_at >= expected.completed_at);
    assert_eq!(record.completed_at, None);
}

async fn inspect(store: &impl Store, hold: &Hold) -> Record {
    let record = store.inspect(&hold.id).await.expect("an inspection");
    record.expect("the record")
}

/// Corrections are fenced by the token that the operator saw, and leave holds in flight alone.
pub(crate) async fn only_the_completed_record_that_was_seen_is_corrected(store: &impl Store) {
    let asked = Fingerprint::of([b"book".as_slice()]);
    let hold = new_hold();
    let outcome = Bytes::from_static(b"moved");
    let corrections = || {
        let replace = Resolution::Replace {
            outcome: outcome.clone(),
        };
        [replace, Resolution::Forget]
    };
    let refuse = async |seen: &Token| {
        let before = store.inspect(&hold.id).await.expect("an inspection");
        for correction in corrections() {
            let corrected = store.resolve(&hold.id, seen, correction).await;
            assert_eq!(corrected.ok(), Some(IfOwner::NotOwner));
        }
        let after = store.inspect(&hold.id).await.expect("an inspection");
        assert_eq!(after, before);
    };
    refuse(&hold.token).await;
    assert_eq!(claim(store, &hold, &asked).await.ok(), Some(won(1)));
    refuse(&hold.token).await;
    let suspended = store.suspend(&hold, Bytes::from_static(b"charged")).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    refuse(&hold.token).await;
    let owner = hold.clone().with_token(Token::random());
    let claimed = claim(store, &owner, &asked).await;
    let charged = Bytes::from_static(b"charged");
    assert_eq!(claimed.ok(), Some(Claim::won(2, charged)));
    let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    refuse(&hold.token).await;
    // Holds are released and completed; ended records are not.
    let complete = Resolution::Complete {
        outcome: outcome.clone(),
        ttl: hold.ttl,
    };
    for resolution in [Resolution::Release, complete] {
        let resolved = store.resolve(&hold.id, &owner.token, resolution).await;
        assert_eq!(resolved.ok(), Some(IfOwner::NotOwner));
    }
    let too_long = Resolution::Replace {
        outcome: vec![0; store.outcome_limit() + 1].into(),
    };
    let replaced = store.resolve(&hold.id, &owner.token, too_long).await;
    let kind = replaced.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::TooLarge));
    for _ in 0..2 {
        let [replace, _] = corrections();
        let replaced = store.resolve(&hold.id, &owner.token, replace).await;
        assert_eq!(replaced.ok(), Some(IfOwner::Done(())));
    }
    // The run that completed it gets the same reply again.
    let again = store.complete(&owner, Bytes::from_static(b"booked")).await;
    let record = inspect(store, &hold).await;
    assert_eq!(again.ok(), Some(IfOwner::Done(record.expires_at)));
    let outcome = outcome.clone();
    assert_eq!(record.phase, Phase::Completed { outcome });
    for expected in [IfOwner::Done(()), IfOwner::NotOwner] {
        let forgotten = store.resolve(&hold.id, &owner.token, Resolution::Forget);
        assert_eq!(forgotten.await.ok(), Some(expected));
    }
    refuse(&owner.token).await;
    assert!(
        store
            .list(&ListRequest::new(1))
            .await
            .is_ok_and(|listed| listed.is_empty())
    );
    let late = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert_eq!(late.ok(), Some(IfOwner::NotOwner));
}

/// More records than one page holds, of which few match the filter.
pub(crate) async fn a_list_has_every_match_however_far_back_it_is(store: &impl Store) {
    let asked = Fingerprint::of([b"book".as_slice()]);
    let id = |number: u8| RecordId::from_bytes([number; 32]);
    let kinds = 240;
    for number in 0..kinds {
        let label = if number % 60 == 59 { "ann" } else { "ben" };
        let mut hold = new_hold().with_labels(Labels::new(None, Some(label)));
        hold.id = id(number);
        assert_eq!(claim(store, &hold, &asked).await.ok(), Some(won(1)));
        match number % 3 {
            0 => {
                let ended = store.complete(&hold, Bytes::new()).await;
                assert!(matches!(ended, Ok(IfOwner::Done(_))), "{ended:?}");
            }
            1 => {
                let ended = store.suspend(&hold, Bytes::new()).await;
                assert_eq!(ended.ok(), Some(IfOwner::Done(())));
            }
            _ => {}
        }
    }
    let list = async |request: ListRequest| {
        let listed = store.list(&request).await.expect("a list").into_iter();
        let ids = listed.map(|listed| listed.id.as_bytes()[0]);
        ids.collect::<Vec<_>>()
    };
    let ann = || ListRequest::new(10).labelled("ann");
    assert_eq!(list(ann()).await, [59, 119, 179, 239]);
    assert_eq!(list(ListRequest::new(2).labelled("ann")).await, [59, 119]);
    assert_eq!(list(ann().after(id(119))).await, [179, 239]);
    assert_eq!(list(ann().after(id(239))).await, [0; 0]);
    assert_eq!(list(ListRequest::new(10).labelled("an")).await, [0; 0]);
    for (phase, expected) in [
        (ListedPhase::Completed, vec![0, 3, 6]),
        (ListedPhase::Lapsed, vec![1, 4, 7]),
        (ListedPhase::InFlight, vec![1, 2, 4]),
    ] {
        assert_eq!(list(ListRequest::new(3).in_phase(phase)).await, expected);
    }
    let mut hold = new_hold();
    hold.id = id(200);
    let began = inspect(store, &hold).await.created_at.expect("a time");
    let older = ListRequest::new(1000).created_before(began);
    assert_eq!(list(older).await, (0..200).collect::<Vec<_>>());
    let of_both = ann().in_phase(ListedPhase::InFlight).created_before(began);
    assert_eq!(list(of_both).await, [59, 119, 179]);
}
