//! What a record says about its past, and how operators find it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{
    Advance, LEASE, MARGIN, TTL, claim, completed, hold_on, inspect, new_hold, request, taken,
    time::lease_of, won,
};
use crate::{
    Fingerprint, Store,
    labels::Labels,
    record::{Record, RecordId},
    store::{Claim, Hold, IfOwner, ListRequest, ListedPhase, Resolution},
};

/// Longer than any of these tests takes.
const HOUR: Duration = Duration::from_secs(3600);

/// Characters that SQL, JSON, a shell or a pattern could misread.
const AWKWARD: &str = r#"O'Brien "&" Søns \ 💶 %_*?[a] {"$1": null}; --"#;

/// A record says when its key was first claimed and when its run was completed, by the store's clock. No step in
/// between changes these times. A free or expired key has neither.
pub async fn a_record_tells_its_times(store: &Arc<dyn Store>, advance: &Advance<'_>) {
    let asked = request("book");
    let (owner, withdrawn, settled) = (
        taken(store, &asked).await,
        taken(store, &asked).await,
        taken(store, &asked).await,
    );
    let mut created = Vec::new();
    for hold in [&owner, &withdrawn, &settled] {
        let record = existing(store, &hold.id).await;
        let created_at = record.created_at.expect("the time of the claim");
        let lapses = lease_of(store, hold).await;
        assert!(is_about(created_at + LEASE, lapses), "{record:?}");
        assert_eq!(record.completed_at, None);
        created.push(record.created_at);
    }
    let (freed, ended) = (
        taken(store, &asked).await,
        completed(store, &asked, b"booked").await,
    );
    let freed_before = existing(store, &freed.id).await.created_at;
    let ended_before = existing(store, &ended.id).await;
    assert!(ended_before.completed_at >= ended_before.created_at);
    assert_eq!(store.release(&freed).await.ok(), Some(IfOwner::Done(())));

    advance(MARGIN);
    // The store still remembers that the first token is spent.
    assert_eq!(claim(store, &hold_on(freed.id), &asked).await, won(1));
    let freed_again = existing(store, &freed.id).await;
    assert!(freed_again.created_at > freed_before, "{freed_again:?}");
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(existing(store, &owner.id).await.created_at, created[0]);

    advance(LEASE);
    let successor = hold_on(owner.id);
    assert_eq!(claim(store, &successor, &asked).await, won(2));
    assert_eq!(existing(store, &owner.id).await.created_at, created[0]);
    let suspended = store.suspend(&successor, Bytes::from_static(b"charged"));
    assert_eq!(suspended.await.ok(), Some(IfOwner::Done(())));
    let last = hold_on(owner.id);
    let resumed = claim(store, &last, &asked).await;
    assert!(
        matches!(resumed, Claim::Won { attempt: 3, .. }),
        "{resumed:?}"
    );
    let in_vain = hold_on(withdrawn.id);
    assert_eq!(claim(store, &in_vain, &asked).await, won(2));
    let back = store.withdraw(&in_vain, &asked).await;
    back.expect("a withdrawal");
    for (hold, created_at) in [(&owner, created[0]), (&withdrawn, created[1])] {
        let record = existing(store, &hold.id).await;
        assert_eq!(
            (record.created_at, record.completed_at),
            (created_at, None),
            "{record:?}"
        );
    }

    let done = store.complete(&last, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let resolution = Resolution::Complete {
        outcome: Bytes::from_static(b"settled by hand"),
        ttl: TTL,
    };
    let resolved = store.resolve(&settled.id, &settled.token, resolution);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    for (hold, created_at) in [(&last, created[0]), (&settled, created[2])] {
        let record = existing(store, &hold.id).await;
        assert_eq!(record.created_at, created_at, "{record:?}");
        let completed_at = record.completed_at.expect("the time of the completion");
        assert!(
            Some(completed_at) > created_at.map(|time| time + LEASE),
            "{record:?}"
        );
        assert!(
            is_about(completed_at + TTL, record.expires_at),
            "{record:?}"
        );
    }
    let before = existing(store, &last.id).await;
    let again = store.complete(&last, Bytes::from_static(b"booked")).await;
    assert_eq!(again.ok(), Some(IfOwner::Done(before.expires_at)));
    assert_eq!(existing(store, &last.id).await, before);

    advance(TTL - LEASE);
    assert_eq!(claim(store, &hold_on(ended.id), &asked).await, won(1));
    let anew = existing(store, &ended.id).await;
    assert!(anew.created_at > ended_before.completed_at, "{anew:?}");
    assert_eq!(anew.completed_at, None);
}

/// The first claim sets the record's labels, and later claims do not change them. The labels are removed with the
/// record, and when the key becomes free.
pub async fn a_record_keeps_the_labels_of_its_first_claim(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let labels = Labels::new(Some("POST /bookings/{id}/pay"), Some(AWKWARD));
    let other = Labels::new(Some("POST /other"), Some("other"));
    for labels in [
        Labels::default(),
        Labels::new(Some("POST /bookings"), None),
        Labels::new(None, Some("customer 7")),
    ] {
        let hold = labelled(store, &asked, &labels).await;
        assert_eq!(existing(store, &hold.id).await.labels, labels);
    }

    let owner = labelled(store, &asked, &labels).await;
    let later = || hold_on(owner.id).with_labels(other.clone());
    let refused = claim(store, &later(), &asked).await;
    assert_eq!(refused, Claim::InFlight { fingerprint: asked });
    let charged = Bytes::from_static(b"charged");
    let kept = store.checkpoint(&owner, charged.clone()).await;
    assert_eq!(kept.ok(), Some(IfOwner::Done(())));
    assert_eq!(existing(store, &owner.id).await.labels, labels);
    let settled = labelled(store, &asked, &labels).await;
    let ended = new_hold().with_labels(labels.clone());
    completed_by(store, &ended, &asked).await;

    advance(LEASE);
    let won_again = |attempt| Claim::Won {
        attempt,
        progress: charged.clone(),
    };
    let in_vain = later();
    assert_eq!(claim(store, &in_vain, &asked).await, won_again(2));
    let back = store.withdraw(&in_vain, &asked).await;
    back.expect("a withdrawal");
    assert_eq!(existing(store, &owner.id).await.labels, labels);
    let successor = later();
    assert_eq!(claim(store, &successor, &asked).await, won_again(2));
    let renewed = store.renew(&successor).await;
    assert_eq!(renewed.ok(), Some(IfOwner::Done(())));
    let suspended = store.suspend(&successor, charged.clone()).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
    let last = later();
    assert_eq!(claim(store, &last, &asked).await, won_again(3));
    assert_eq!(existing(store, &owner.id).await.labels, labels);
    let done = store.complete(&last, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let resolution = Resolution::Complete {
        outcome: Bytes::from_static(b"settled by hand"),
        ttl: TTL,
    };
    let resolved = store.resolve(&settled.id, &settled.token, resolution);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    for hold in [&owner, &settled] {
        assert_eq!(existing(store, &hold.id).await.labels, labels);
    }

    // A free key has no labels, whichever way it became free.
    let (released, unstarted) = (labelled(store, &asked, &labels).await, new_hold());
    let released_again = store.release(&released).await;
    assert_eq!(released_again.ok(), Some(IfOwner::Done(())));
    let unstarted = unstarted.with_labels(labels.clone());
    let back = store.withdraw(&unstarted, &asked).await;
    back.expect("a withdrawal");
    let operated = labelled(store, &asked, &labels).await;
    let resolved = store.resolve(&operated.id, &operated.token, Resolution::Release);
    assert_eq!(resolved.await.ok(), Some(IfOwner::Done(())));
    for (hold, labels) in [
        (&released, other.clone()),
        (&unstarted, Labels::default()),
        (&operated, Labels::default()),
    ] {
        let next = hold_on(hold.id).with_labels(labels.clone());
        assert_eq!(claim(store, &next, &asked).await, won(1));
        assert_eq!(existing(store, &hold.id).await.labels, labels);
    }

    advance(TTL - LEASE);
    assert_eq!(claim(store, &hold_on(ended.id), &asked).await, won(1));
    let anew = existing(store, &ended.id).await;
    assert_eq!(anew.labels, Labels::default());
}

/// A list shows only records that match all of its filters, and its limit counts those that it shows.
pub async fn a_list_is_narrowed_by_phase_age_and_label(
    store: &Arc<dyn Store>,
    advance: &Advance<'_>,
) {
    let asked = request("book");
    let label = |text| Labels::new(Some("POST /bookings"), Some(text));
    let (mine, theirs) = (label("customer 7"), label("customer 70"));
    // There are many pages to read, so no lease may lapse meanwhile.
    let hold = |labels: &Labels| {
        let hold = new_hold().with_lease(HOUR).with_ttl(HOUR);
        hold.with_labels(labels.clone())
    };
    let lapsed = hold(&mine).with_lease(LEASE);
    won_by(store, &lapsed, &asked).await;
    let old = [&mine, &theirs, &Labels::default()].map(hold);
    for hold in &old {
        completed_by(store, hold, &asked).await;
    }
    advance(LEASE);
    let running = hold(&mine);
    won_by(store, &running, &asked).await;
    let boundary = existing(store, &running.id).await.created_at;
    let boundary = boundary.expect("the time of the claim");
    let suspended = hold(&theirs);
    won_by(store, &suspended, &asked).await;
    let done = store.suspend(&suspended, Bytes::new()).await;
    assert_eq!(done.ok(), Some(IfOwner::Done(())));
    let new = [&mine, &label("Customer 7"), &label(AWKWARD)].map(hold);
    for hold in &new {
        completed_by(store, hold, &asked).await;
    }
    // Free keys, which no list shows.
    let released = hold(&mine);
    won_by(store, &released, &asked).await;
    let done = store.release(&released).await;
    assert_eq!(done.ok(), Some(IfOwner::Done(())));
    let back = store.withdraw(&hold(&mine), &asked).await;
    back.expect("a withdrawal");

    let (old, new) = (old.map(|hold| hold.id), new.map(|hold| hold.id));
    let all = || ListRequest::new(100);
    let everything = [
        &[lapsed.id, running.id, suspended.id][..],
        old.as_slice(),
        new.as_slice(),
    ]
    .concat();
    let distant = boundary + Duration::from_secs(30 * 365 * 86_400);
    for (request, ids) in [
        (all(), everything.clone()),
        (
            all().in_phase(ListedPhase::InFlight),
            vec![lapsed.id, running.id, suspended.id],
        ),
        (
            all().in_phase(ListedPhase::Lapsed),
            vec![lapsed.id, suspended.id],
        ),
        (all().in_phase(ListedPhase::Completed), [old, new].concat()),
        (
            all().created_before(boundary),
            [&[lapsed.id][..], old.as_slice()].concat(),
        ),
        (all().created_before(UNIX_EPOCH), vec![]),
        (all().created_before(distant), everything),
        (
            all().labelled("customer 7"),
            vec![lapsed.id, running.id, old[0], new[0]],
        ),
        (all().labelled(AWKWARD), vec![new[2]]),
        (all().labelled("customer"), vec![]),
        (all().labelled("customer _"), vec![]),
        (all().labelled("POST /bookings"), vec![]),
        (
            all()
                .labelled("customer 7")
                .in_phase(ListedPhase::Completed)
                .created_before(boundary),
            vec![old[0]],
        ),
        (
            all().labelled("customer 70").in_phase(ListedPhase::Lapsed),
            vec![suspended.id],
        ),
        (
            all()
                .labelled("customer 70")
                .in_phase(ListedPhase::Lapsed)
                .created_before(boundary),
            vec![],
        ),
    ] {
        shows(store, request, ids).await;
    }
}

/// These records are listed, on one page and on pages of two, each exactly as it is inspected.
async fn shows(store: &Arc<dyn Store>, request: ListRequest, mut ids: Vec<RecordId>) {
    ids.sort_unstable();
    for limit in [100, 2] {
        let mut page = request.clone();
        page.limit = limit;
        let mut listed: Vec<RecordId> = Vec::new();
        loop {
            let found = store.list(&page).await.expect("a page");
            assert!(
                found.iter().all(|entry| page.after < Some(entry.id)),
                "a page begins after the previous one"
            );
            for entry in &found {
                let record = entry.record.as_ref().expect("a record");
                assert_eq!(inspect(store, &entry.id).await.as_ref(), Some(record));
            }
            listed.extend(found.iter().map(|entry| entry.id));
            page.after = listed.last().copied();
            if found.len() < limit {
                break;
            }
        }
        assert_eq!(listed, ids, "{request:?}, {limit} at a time");
    }
}

/// A key that this request has just claimed, with these labels.
pub(super) async fn labelled(store: &Arc<dyn Store>, asked: &Fingerprint, labels: &Labels) -> Hold {
    let hold = new_hold().with_labels(labels.clone());
    won_by(store, &hold, asked).await;
    hold
}

async fn won_by(store: &Arc<dyn Store>, hold: &Hold, asked: &Fingerprint) {
    assert_eq!(claim(store, hold, asked).await, won(1));
}

async fn completed_by(store: &Arc<dyn Store>, hold: &Hold, asked: &Fingerprint) {
    won_by(store, hold, asked).await;
    let done = store.complete(hold, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

pub(super) async fn existing(store: &Arc<dyn Store>, id: &RecordId) -> Record {
    inspect(store, id).await.expect("the record")
}

/// Whether two times are equal, except for a store's rounding.
fn is_about(one: SystemTime, other: SystemTime) -> bool {
    let distance = one.duration_since(other);
    distance.unwrap_or_else(|error| error.duration()) < MARGIN
}
