//! What an engine with a secret writes to its store.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use idempotency::{
    Clock, Idempotency, MemoryStore, OnLost, Options, Rejection, Run, RunError, Scope, Store,
    operators::{KeyChange, KeyState},
    store::{
        ClaimRequest, Hold, IfOwner, ListRequest, Phase, Record, Resolution, StoreErrorKind, Token,
    },
};

use super::{Failed, RunResult, asked, charge, execute, flaky::FlakyStore, key};

const SECRET: &[u8] = b"a secret of thirty-two characters";

/// An engine with a secret, and its store as seen without the secret.
fn sealed() -> (Idempotency, MemoryStore) {
    let store = MemoryStore::new();
    let idempotency = Idempotency::builder(store.clone())
        .with_secret(SECRET)
        .build();
    (idempotency, store)
}

async fn record(idempotency: &Idempotency, store: &dyn Store, name: &str) -> Record {
    let id = idempotency.record_id(&Scope::anonymous(), &key(name));
    let found = store.inspect(&id).await.expect("a readable record");
    found.expect("a record")
}

fn outcome(record: &Record) -> Bytes {
    match &record.phase {
        Phase::Completed { outcome } => outcome.clone(),
        other => panic!("not completed: {other:?}"),
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

/// Replaces the record's bytes by these.
async fn replace(store: &MemoryStore, record: &Record, outcome: Bytes) {
    let replaced = store.resolve(&record.id, &record.token, Resolution::Replace { outcome });
    assert_eq!(replaced.await.ok(), Some(IfOwner::Done(())));
}

async fn book(idempotency: &Idempotency, name: &str, value: &'static str) -> RunResult<String> {
    let (scope, key) = (Scope::anonymous(), key(name));
    let work = async move { Ok(value.to_owned()) };
    idempotency.run(&scope, &key, asked(name), work).await
}

// proves: records-encrypted-and-purgeable
#[tokio::test]
async fn neither_a_response_nor_a_step_is_readable_in_the_store() {
    let (idempotency, store) = sealed();
    let (engine, raw) = (idempotency.clone(), store.clone());
    let options = Options::new();
    let run = execute(&idempotency, &options, async move |execution| {
        let card = execution.step("charge", async { Ok::<_, Failed>("card 4711".to_owned()) });
        card.await.map_err(|_| Failed)?;
        let record = record(&engine, &raw, "k").await;
        let Phase::InFlight { progress, .. } = record.phase else {
            panic!("it runs");
        };
        assert!(!progress.is_empty() && !contains(&progress, "4711"));
        Ok::<_, Failed>("receipt 12".to_owned())
    });
    assert_eq!(
        run.await.expect("a value"),
        Run::Executed("receipt 12".to_owned())
    );
    assert!(!contains(
        &outcome(&record(&idempotency, &store, "k").await),
        "receipt"
    ));
    // Its own view of the store is readable.
    let opened = outcome(&record(&idempotency, idempotency.store(), "k").await);
    assert!(contains(&opened, "receipt 12"));
    let again = charge(&idempotency, async { Ok(String::new()) }).await;
    assert_eq!(
        again.expect("a value"),
        Run::Replayed("receipt 12".to_owned())
    );
}

/// Equal responses do not look equal in the store.
// proves: records-encrypted-and-purgeable
#[tokio::test]
async fn equal_responses_are_stored_as_different_bytes() {
    let (idempotency, store) = sealed();
    for name in ["a", "b"] {
        assert!(book(&idempotency, name, "room 12").await.is_ok());
    }
    let [one, other] = ["a", "b"].map(|name| record(&idempotency, &store, name));
    assert_ne!(outcome(&one.await), outcome(&other.await));
}

/// Otherwise who can write to the store, and does not have the secret, could choose the response.
// proves: damaged-record-frees-key, records-encrypted-and-purgeable
#[tokio::test]
async fn a_response_that_nobody_encrypted_is_an_error_unless_the_secret_is_just_being_introduced() {
    let (idempotency, store) = sealed();
    assert!(book(&idempotency, "k", "room 12").await.is_ok());
    let opened = outcome(&record(&idempotency, idempotency.store(), "k").await);
    let stored = record(&idempotency, &store, "k").await;
    replace(&store, &stored, opened).await;
    for (other_secret, is_read) in [
        (None, false),
        (Some(b"an older secret".as_slice()), false),
        (Some(b"".as_slice()), true),
    ] {
        let mut builder = Idempotency::builder(store.clone()).with_secret(SECRET);
        if let Some(other_secret) = other_secret {
            builder = builder.with_previous_secret(other_secret);
        }
        let again = book(&builder.build(), "k", "room 13").await;
        match again {
            Ok(again) => assert!(is_read && again == Run::Replayed("room 12".to_owned())),
            Err(RunError::Rejected(Rejection::Store(error))) => {
                assert!(!is_read && error.kind() == StoreErrorKind::Unreadable);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Who asks for an erasure need not be able to read the response.
// proves: erased-response-never-runs, records-encrypted-and-purgeable
#[tokio::test]
async fn a_response_that_cannot_be_decrypted_can_be_erased() {
    let (idempotency, store) = sealed();
    for name in ["a", "b"] {
        assert!(book(&idempotency, name, "room 12").await.is_ok());
    }
    let other = Idempotency::builder(store.clone())
        .with_secret(b"another secret")
        .build();
    let damaged = record(&idempotency, &store, "a").await;
    replace(&store, &damaged, b"damaged".as_slice().into()).await;
    let listed = other.store().list(&ListRequest::new(3)).await;
    for listed in listed.expect("a list") {
        assert!(listed.record.is_err());
        assert_eq!(other.erase(&listed.id).await.ok(), Some(KeyChange::Made));
        let state = other.check(&listed.id).await;
        assert_eq!(state.ok(), Some(KeyState::Erased));
    }
}

// proves: damaged-record-frees-key, records-encrypted-and-purgeable
#[tokio::test]
async fn a_response_that_was_changed_or_moved_is_an_error_and_nothing_runs() {
    let (idempotency, store) = sealed();
    for name in ["a", "b"] {
        assert!(book(&idempotency, name, "room 12").await.is_ok());
    }
    let stored = record(&idempotency, &store, "a").await;
    let own = outcome(&stored);
    let of_another = outcome(&record(&idempotency, &store, "b").await);
    let other_secret = Idempotency::builder(MemoryStore::new())
        .with_secret(b"another secret")
        .build();
    let sealed_by_another = other_secret
        .store()
        .encode_outcome(&stored.id, b"anything".as_slice().into())
        .expect("sealed bytes");
    let changed = (0..own.len()).map(|at| {
        let mut bytes = own.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    });
    let cut = (0..own.len()).map(|length| own.slice(..length));
    let wrong = changed.chain(cut).chain([of_another, sealed_by_another]);
    for wrong in wrong {
        replace(&store, &stored, wrong).await;
        book(&idempotency, "a", "room 13")
            .await
            .expect_err("what cannot be read is an error");
    }
    replace(&store, &stored, own).await;
    let again = book(&idempotency, "a", "room 13").await.expect("a value");
    assert_eq!(again, Run::Replayed("room 12".to_owned()));
}

/// The next attempt cannot know which steps were done, so it neither runs nor keeps the key.
// proves: damaged-record-frees-key
#[tokio::test]
async fn steps_that_cannot_be_decrypted_are_an_error_and_leave_the_key_as_it_was() {
    let (idempotency, store) = sealed();
    let options = Options::new();
    let failed = execute(&idempotency, &options, async move |execution| {
        let card = execution.step("charge", async { Ok::<_, Failed>("card 4711".to_owned()) });
        card.await.map_err(|_| Failed)?;
        Err::<String, _>(Failed)
    });
    failed.await.expect_err("the work fails after its step");
    let suspended = record(&idempotency, &store, "k").await;
    let Phase::InFlight { progress, .. } = &suspended.phase else {
        panic!("suspended");
    };
    let mut changed = progress.to_vec();
    *changed.last_mut().expect("bytes") ^= 1;
    let minute = Duration::from_secs(60);
    let hold = Hold::new(suspended.id, Token::random(), minute, minute);
    let request = ClaimRequest::new(&hold, &suspended.fingerprint, OnLost::TakeOver);
    store.claim(request).await.expect("a claim");
    let kept = store.suspend(&hold, changed.into()).await;
    assert_eq!(kept.ok(), Some(IfOwner::Done(())));
    for _ in 0..2 {
        let refused = charge(&idempotency, async { Ok(String::new()) }).await;
        let Err(RunError::Rejected(Rejection::Store(error))) = refused else {
            panic!("what cannot be read is an error of the store: {refused:?}");
        };
        assert_eq!(error.kind(), StoreErrorKind::Unreadable);
        let found = record(&idempotency, &store, "k").await;
        assert!(matches!(found.phase, Phase::InFlight { .. }));
    }
}

/// The claim was taken before its steps turned out to be unreadable, and giving it back may fail.
// proves: dropped-future-loses-nothing, damaged-record-frees-key
#[tokio::test(start_paused = true)]
async fn a_claim_of_steps_that_cannot_be_decrypted_is_withdrawn_although_the_store_is_lost_meanwhile()
 {
    let store = FlakyStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store))
        .with_secret(SECRET)
        .build();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let options = Options::new();
    let raw = Arc::clone(&store);
    let failed = execute(&idempotency, &options, async move |execution| {
        let card = execution.step("charge", async { Ok::<_, Failed>("card 4711".to_owned()) });
        card.await.map_err(|_| Failed)?;
        let record = raw.inner.inspect(&id).await.expect("a response");
        let record = record.expect("a record");
        let Phase::InFlight { progress, .. } = record.phase else {
            panic!("it runs");
        };
        // Longer than what the run leaves, so that this stays.
        let damaged = [progress.as_ref(), b"damaged"].concat();
        let hour = Duration::from_secs(3600);
        let hold = Hold::new(id, record.token, hour, hour);
        let kept = raw.inner.checkpoint(&hold, damaged.into()).await;
        assert_eq!(kept.ok(), Some(IfOwner::Done(())));
        Err::<String, _>(Failed)
    });
    failed.await.expect_err("the work fails after its step");

    store.unsent_withdrawals.store(1, Ordering::SeqCst);
    let refused = charge(&idempotency, async { Ok(String::new()) }).await;
    assert!(
        matches!(refused, Err(RunError::Rejected(Rejection::Store(_)))),
        "{refused:?}"
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(store.withdrawals.done.load(Ordering::SeqCst), 1);
    let left = store.inner.inspect(&id).await.expect("a response");
    assert_eq!(left.map(|record| record.attempt), Some(1));
}

// proves: oversized-response-leaves-tombstone
#[tokio::test]
async fn the_limit_of_an_outcome_is_lower_by_what_sealing_adds() {
    let (idempotency, store) = sealed();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let outcome = Bytes::from_static(b"an outcome");
    let stored = idempotency.store().encode_outcome(&id, outcome.clone());
    let added = stored.expect("sealed bytes").len() - outcome.len();
    let lower = store.outcome_limit() - idempotency.store().outcome_limit();
    assert_eq!(lower, added);
}
