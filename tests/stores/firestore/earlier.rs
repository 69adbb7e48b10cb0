//! Documents of the earlier version, which have neither labels nor the time of the first claim, and how that version reads ours.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gcloud_sdk::google::firestore::v1::value::ValueType;
use idempotency::{
    FirestoreStore, Store,
    store::{
        Claim, Hold, IfOwner, Labels, ListRequest, ListedPhase, Record, Resolution, StoreErrorKind,
        Token,
    },
};
use tests::servers::firestore::{Documents, FirestoreEmulator};

use super::{connect, hold_on, new_hold, request, unused_project};
use crate::{claim, won};

/// A document as that version wrote it, a minute ago.
async fn write(
    documents: &Documents,
    hold: &Hold,
    (phase, attempt): (&str, i64),
    spent: &[Token],
    left: &[u8],
) {
    let at = |time: SystemTime| ValueType::TimestampValue(time.into());
    let minute_ago = SystemTime::now() - hold.lease;
    let is_over = phase == "withdrawn";
    let lease = if is_over { 0 } else { 1000 };
    let ttl = i64::try_from(hold.ttl.as_millis()).expect("a short time");
    let spent: Vec<u8> = spent.iter().flat_map(|token| *token.as_bytes()).collect();
    let fields = [
        ("version", ValueType::IntegerValue(1)),
        ("phase", ValueType::StringValue(phase.into())),
        (
            "fingerprint",
            ValueType::BytesValue(request("book").as_bytes().into()),
        ),
        ("token", ValueType::BytesValue(hold.token.as_bytes().into())),
        ("attempt", ValueType::IntegerValue(attempt)),
        ("lease_ms", ValueType::IntegerValue(lease)),
        ("ttl_ms", ValueType::IntegerValue(ttl)),
        ("stepped_at", at(minute_ago)),
        ("expires_at", at(minute_ago + 10 * hold.ttl)),
        ("spent", ValueType::BytesValue(spent)),
        ("outcome", ValueType::BytesValue(left.into())),
    ];
    documents.set(&hold.id, fields).await;
}

async fn inspect(store: &FirestoreStore, hold: &Hold) -> Record {
    let record = store.inspect(&hold.id).await.expect("an inspection");
    record.expect("the record")
}

fn labelled(hold: &Hold) -> Hold {
    hold_on(hold.id).with_labels(Labels::new(Some("POST /bookings"), Some("ann")))
}

// proves: other-version-is-error, newer-record-fails-alone
#[tokio::test]
async fn a_run_of_the_version_before_is_taken_over_completed_and_forgotten() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, asked) = (unused_project(), request("book"));
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let (before, spent) = (new_hold(), Token::random());
    write(&documents, &before, ("in flight", 3), &[spent], b"charged").await;
    let unknown = (None, Labels::default());
    let record = inspect(&store, &before).await;
    assert_eq!((record.created_at, record.labels), unknown);
    assert_eq!(record.completed_at, None);
    let narrowed = ListRequest::new(1)
        .created_before(UNIX_EPOCH)
        .in_phase(ListedPhase::Lapsed);
    let listed = store.list(&narrowed).await.expect("a list");
    assert_eq!(listed.len(), 1, "when it began is not known");
    let late = labelled(&before).with_token(spent);
    let kind = claim(&store, &late, &asked).await;
    let kind = kind.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Withdrawn));

    let next = labelled(&before);
    let progress = Bytes::from_static(b"charged");
    let claimed = claim(&store, &next, &asked).await;
    assert_eq!(claimed.ok(), Some(Claim::won(4, progress)));
    let record = inspect(&store, &before).await;
    assert_eq!((record.created_at, record.labels), unknown);
    let done = store.complete(&next, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    let record = inspect(&store, &before).await;
    assert_eq!((record.created_at, record.labels), unknown);
    assert!(record.completed_at.is_some());
    let forgotten = store.resolve(&next.id, &next.token, Resolution::Forget);
    assert_eq!(forgotten.await.ok(), Some(IfOwner::Done(())));
    let last = labelled(&before);
    assert_eq!(claim(&store, &last, &asked).await.ok(), Some(won(1)));
    let record = inspect(&store, &before).await;
    assert_eq!(record.labels, last.labels);
    assert!(record.created_at.is_some());
}

/// Where that version releases a key, it leaves the fields that it does not know. The next claim must not take them for its own.
// proves: other-version-is-error, newer-record-fails-alone
#[tokio::test]
async fn a_key_that_the_version_before_freed_has_nothing_of_the_record_that_it_was() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, asked) = (unused_project(), request("book"));
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let first = labelled(&new_hold());
    assert_eq!(claim(&store, &first, &asked).await.ok(), Some(won(1)));
    let began = inspect(&store, &first).await.created_at;
    write(&documents, &first, ("withdrawn", 0), &[], b"").await;
    let elsewhere = connect(emulator, &project).await;
    assert_eq!(elsewhere.inspect(&first.id).await.expect("a read"), None);
    let next = hold_on(first.id);
    assert_eq!(claim(&elsewhere, &next, &asked).await.ok(), Some(won(1)));
    let record = inspect(&elsewhere, &next).await;
    assert_eq!(record.labels, Labels::default());
    assert!(record.created_at > began);
}

/// The earlier version reads none of the fields that this version adds.
// proves: newer-record-fails-alone
#[tokio::test]
async fn a_document_adds_only_new_fields_to_those_of_the_earlier_version() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, asked) = (unused_project(), request("book"));
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let owner = labelled(&new_hold());
    assert_eq!(claim(&store, &owner, &asked).await.ok(), Some(won(1)));
    let known = [
        "attempt",
        "expires_at",
        "fingerprint",
        "lease_ms",
        "phase",
        "stepped_at",
        "token",
        "ttl_ms",
        "version",
    ];
    let fields = async || {
        let document = documents.all().await.pop().expect("the record");
        let version = document.fields["version"].value_type.clone();
        assert_eq!(version, Some(ValueType::IntegerValue(1)));
        let mut names: Vec<_> = document.fields.into_keys().collect();
        names.retain(|name| !known.contains(&&**name));
        names.sort_unstable();
        names
    };
    assert_eq!(fields().await, ["created_at", "label", "route"]);
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(fields().await, [""; 0]);
}
