//! What becomes of a record's labels and times, step by step.

use bytes::Bytes;
use idempotency::{
    Claim, Fingerprint, Hold, IfOwner, Labels, ListRequest, Record, Resolution, Store, Token,
};

use crate::{claim, won};

/// Takes a key with labels that a store might tear through all that can become of it, once for each of them.
pub(crate) async fn every_step_keeps_the_labels(store: &impl Store, new_hold: impl Fn() -> Hold) {
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
    expected.phase = idempotency::Phase::Completed { outcome };
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
