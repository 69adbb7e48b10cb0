//! What is in the documents, and what becomes of it.

use std::time::Duration;

use bytes::Bytes;
use gcloud_sdk::{google::firestore::v1::value::ValueType, prost_types::Timestamp};
use idempotency::{
    FirestoreStore, Idempotency, IdempotencyKey, OnDuplicate, Options, Rejection, Run, RunError,
    Scope, Store,
    store::{Claim, Hold, IfOwner, ListRequest, RecordId, StoreErrorKind},
};
use tests::servers::firestore::{Documents, FirestoreEmulator};
use tokio::{sync::oneshot, task::JoinSet};

use super::{connect, hold_on, new_hold, request, tap::Tap, unused_project};
use crate::{claim, won};

/// How much longer documents are kept than their records.
const GRACE: Duration = Duration::from_secs(3600);

// proves: other-version-is-error, newer-record-fails-alone, damaged-record-frees-key
// proves: newer-value-fails-all
#[tokio::test]
async fn a_document_that_cannot_be_read_is_an_error_and_stays() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let asked = request("book");
    for damage in [
        ("version", ValueType::IntegerValue(2)),
        ("version", ValueType::StringValue("1".into())),
        ("token", ValueType::BytesValue(vec![1, 2, 3])),
        ("fingerprint", ValueType::NullValue(0)),
        ("attempt", ValueType::IntegerValue(-1)),
        ("phase", ValueType::StringValue("waiting".into())),
        ("lease_ms", ValueType::DoubleValue(1.5)),
        ("ttl_ms", ValueType::IntegerValue(-1)),
        ("stepped_at", ValueType::IntegerValue(0)),
        ("outcome", ValueType::StringValue("charged".into())),
        ("created_at", ValueType::IntegerValue(0)),
        ("route", ValueType::BytesValue(b"POST".to_vec())),
        ("label", ValueType::NullValue(0)),
    ] {
        let project = unused_project();
        let documents = Documents::new(&emulator.address(), &project);
        let store = connect(emulator, &project).await;
        let owner = new_hold();
        let last = hold_on(RecordId::from_bytes([255; 32]));
        for hold in [&owner, &last] {
            let claimed = claim(&store, hold, &asked).await;
            assert_eq!(claimed.ok(), Some(won(1)));
        }
        documents.set(&owner.id, [damage.clone()]).await;
        documents.put_beside("00-a-note").await;
        let before = documents.all().await;

        let elsewhere = connect(emulator, &project).await;
        for store in [&store, &elsewhere] {
            let verdicts = [
                claim(store, &hold_on(owner.id), &asked).await.map(drop),
                store.withdraw(&owner, &asked).await,
                store.renew(&owner).await.map(drop),
                store.checkpoint(&owner, Bytes::new()).await.map(drop),
                store.suspend(&owner, Bytes::new()).await.map(drop),
                store.complete(&owner, Bytes::new()).await.map(drop),
                store.release(&owner).await.map(drop),
                store.inspect(&owner.id).await.map(drop),
            ];
            for verdict in verdicts {
                let kind = verdict.map_err(|error| error.kind());
                assert_eq!(kind, Err(StoreErrorKind::Unreadable), "{damage:?}");
            }
            // It hides no other record, and neither does a malformed document.
            let listed = store.list(&ListRequest::new(2)).await.expect("a list");
            let listed = listed
                .into_iter()
                .map(|listed| (listed.id, listed.record.err().map(|error| error.kind())));
            let unreadable = (owner.id, Some(StoreErrorKind::Unreadable));
            let expected = [unreadable, (last.id, None)];
            assert_eq!(listed.collect::<Vec<_>>(), expected, "{damage:?}");
        }
        assert_eq!(documents.all().await, before);
    }
}

// proves: other-version-is-error, dropped-future-loses-nothing, damaged-record-frees-key
#[tokio::test]
async fn a_record_with_half_a_spent_token_is_an_error_and_stays() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, asked) = (unused_project(), request("book"));
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let owner = claimed(&store).await;
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
    let torn = ("spent", ValueType::BytesValue(vec![1; 24]));
    documents.set(&owner.id, [torn]).await;
    let before = documents.all().await;
    let elsewhere = connect(emulator, &project).await;
    let verdicts = [
        claim(&elsewhere, &hold_on(owner.id), &asked)
            .await
            .map(drop),
        elsewhere.withdraw(&owner, &asked).await,
        elsewhere.inspect(&owner.id).await.map(drop),
    ];
    for verdict in verdicts {
        let kind = verdict.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Unreadable));
    }
    assert_eq!(documents.all().await, before);
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_free_key_keeps_eight_older_tokens_for_as_long_as_any_of_them_needs() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, asked) = (unused_project(), request("book"));
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let first = new_hold();
    let mut spent = Vec::new();
    for older in 0..10 {
        let late = hold_on(first.id).with_ttl(if older == 0 {
            first.ttl
        } else {
            Duration::ZERO
        });
        let withdrawn = store.withdraw(&late, &asked).await;
        withdrawn.expect("a withdrawal");
        let document = documents.all().await.pop().expect("the free key");
        let left = document
            .fields
            .get("spent")
            .map(|left| left.value_type.clone());
        let length = match left {
            Some(Some(ValueType::BytesValue(tokens))) => tokens.len(),
            None => 0,
            other => panic!("it has tokens, and not {other:?}"),
        };
        assert_eq!(length, 16 * older.min(8));
        spent.push(late);
    }
    // By its own time alone, the last token would be forgotten by now.
    documents.set_back(first.lease);
    let elsewhere = connect(emulator, &project).await;
    for late in &spent[2..] {
        for store in [&store, &elsewhere] {
            let claim = claim(store, late, &asked).await;
            let kind = claim.map_err(|error| error.kind());
            assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
        }
    }
    let next = hold_on(first.id);
    assert_eq!(claim(&elsewhere, &next, &asked).await.ok(), Some(won(1)));
    let completed = elsewhere.complete(&next, Bytes::new()).await;
    completed.expect("a completion");
    let document = documents.all().await.pop().expect("the record");
    assert!(!document.fields.contains_key("spent"));
}

// proves: sweep-removes-only-expired
#[tokio::test]
async fn a_sweep_removes_documents_an_hour_after_their_records_time() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let project = unused_project();
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let mut expired = Vec::new();
    for _ in 0..10 {
        expired.push(completed(&store).await);
    }
    documents.set_back(expired[0].ttl);
    assert_eq!(store.purge_expired(100).await.ok(), Some(0));
    documents.set_back(GRACE);
    let living = [completed(&store).await.id, claimed(&store).await.id];
    for removed in [4, 4, 2, 0] {
        assert_eq!(store.purge_expired(4).await.ok(), Some(removed));
    }
    assert_eq!(documents.all().await.len(), living.len());
    for id in living {
        let record = store.inspect(&id).await;
        assert!(matches!(record, Ok(Some(_))), "{record:?}");
    }
}

// proves: expired-key-is-new, sweep-removes-only-expired, sweep-deletes-wrong-key
// proves: expiry-removes-successor
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sweep_leaves_records_that_were_claimed_since_it_read_them() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let project = unused_project();
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let mut expired = Vec::new();
    for _ in 0..50 {
        expired.push(completed(&store).await);
    }
    documents.set_back(expired[0].ttl + GRACE);
    let mut sweeps = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        sweeps.spawn(async move { store.purge_expired(5).await.expect("a sweep") });
    }
    let mut claims = JoinSet::new();
    for old in expired {
        let store = store.clone();
        claims.spawn(async move {
            let hold = hold_on(old.id);
            let claimed = claim(&store, &hold, &request("book")).await;
            assert_eq!(claimed.ok(), Some(won(1)));
            hold
        });
    }
    let owners = claims.join_all().await;
    let removed: usize = sweeps.join_all().await.into_iter().sum();
    assert!(removed <= owners.len(), "no record is removed twice");
    for owner in owners {
        let done = store.complete(&owner, Bytes::from_static(b"again")).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    }
}

// proves: store-clock-decides, clock-skew-early-takeover
#[tokio::test]
async fn a_lease_counts_from_when_the_server_took_the_step() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let project = unused_project();
    let documents = Documents::new(&emulator.address(), &project);
    let store = connect(emulator, &project).await;
    let asked = request("book");
    let owner = claimed(&store).await;
    // As if the server's clock were a year behind that of this machine, and then ahead.
    let year = 365 * 24 * 3600;
    let now = stepped_at(&documents).await;
    for (seconds, expected) in [
        (now.seconds + year, Claim::in_flight(asked)),
        (now.seconds - 60, won(2)),
    ] {
        let time = Timestamp { seconds, ..now };
        let time = ("stepped_at", ValueType::TimestampValue(time));
        documents.set(&owner.id, [time]).await;
        let claim = claim(&store, &hold_on(owner.id), &asked).await;
        assert_eq!(claim.ok(), Some(expected));
    }
}

// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test]
async fn a_duplicate_in_another_process_waits_for_the_response() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let project = unused_project();
    let tap = Tap::start(emulator).await;
    let elsewhere = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
    let here = Idempotency::new(connect(emulator, &project).await);
    let there = Idempotency::new(elsewhere.expect("a store"));
    let options = Options::new().on_duplicate(OnDuplicate::Wait);
    let (scope, key) = (
        Scope::principal("ann"),
        IdempotencyKey::new("one").expect("a key"),
    );
    let (running, runs) = oneshot::channel();
    let (finish, finished) = oneshot::channel::<()>();
    let first = tokio::spawn({
        let (here, scope, key) = (here.clone(), scope.clone(), key.clone());
        async move {
            let work = async move {
                running.send(()).expect("the test");
                finished.await.map_err(drop)?;
                Ok::<_, ()>("booked".to_owned())
            };
            here.run(&scope, &key, request("book"), work).await
        }
    });
    runs.await.expect("the first run");
    let mut duplicates = JoinSet::new();
    for idempotency in [&here, &there, &here, &there] {
        let idempotency = idempotency.clone();
        let (options, scope, key) = (options, scope.clone(), key.clone());
        duplicates.spawn(async move {
            let work = async { Ok::<_, ()>("booked again".to_owned()) };
            let asked = request("book");
            let run = idempotency.run_with(&options, &scope, &key, asked, |_| work);
            run.await
        });
    }
    // Each of the two elsewhere claims, reads the owner, and reads again once it listens; and the connection
    // began with a read.
    let mut calls = 0;
    while calls < 1 + 2 * 3 {
        calls += tap.calls();
        tokio::task::yield_now().await;
    }
    finish.send(()).expect("the first run");
    assert!(matches!(first.await, Ok(Ok(Run::Executed(_)))));
    for duplicate in duplicates.join_all().await {
        assert!(matches!(duplicate, Ok(Run::Replayed(value)) if value == "booked"));
    }
}

// proves: oversized-response-leaves-tombstone
#[tokio::test]
async fn a_value_too_long_for_a_document_is_given_once_and_not_made_again() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let store = connect(emulator, &unused_project()).await;
    let limit = store.outcome_limit();
    let idempotency = Idempotency::new(store);
    let scope = Scope::principal("ann");
    // Two bytes begin an outcome, and quotes are around a text.
    for (key, length, is_kept) in [("fits", limit - 4, true), ("does-not", limit - 3, false)] {
        let key = IdempotencyKey::new(key).expect("a key");
        let run = async |letter: &'static str| {
            let work = async move { Ok::<_, ()>(letter.repeat(length)) };
            idempotency.run(&scope, &key, request("book"), work).await
        };
        assert!(matches!(run("a").await, Ok(Run::Executed(value)) if value.len() == length));
        match run("b").await {
            Ok(Run::Replayed(value)) if is_kept => assert_eq!(value, "a".repeat(length)),
            Err(RunError::Rejected(Rejection::NotStored)) if !is_kept => {}
            other => panic!("{length} bytes, and the second run is {:?}", other.is_ok()),
        }
    }
}

async fn claimed(store: &impl Store) -> Hold {
    let hold = new_hold();
    let claimed = claim(store, &hold, &request("book")).await;
    assert_eq!(claimed.ok(), Some(won(1)));
    hold
}

async fn completed(store: &impl Store) -> Hold {
    let hold = claimed(store).await;
    let done = store.complete(&hold, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    hold
}

async fn stepped_at(documents: &Documents) -> Timestamp {
    let document = documents.all().await.pop().expect("the record");
    let value = document.fields["stepped_at"].value_type.as_ref();
    match value {
        Some(ValueType::TimestampValue(time)) => *time,
        other => panic!("it is a time, and not {other:?}"),
    }
}
