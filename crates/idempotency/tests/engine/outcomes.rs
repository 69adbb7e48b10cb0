//! The outcomes of runs.

use std::collections::BTreeMap;

use idempotency::{Idempotency, MemoryStore, Rejection, Run, RunError, Scope};

use crate::{Failed, RunResult, asked, charge, key, refund};

// proves: state-decides-response, first-response-unmarked, replay-keeps-body
#[tokio::test]
async fn a_value_is_made_once_and_given_again() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let first = charge(&idempotency, async { Ok("receipt 1".to_owned()) }).await;
    assert_eq!(first.expect("a value"), Run::Executed("receipt 1".into()));
    for _ in 0..3 {
        let again = charge(&idempotency, async { Ok("receipt 2".to_owned()) }).await;
        assert_eq!(again.expect("a value"), Run::Replayed("receipt 1".into()));
    }
}

// proves: failures-free-key
#[tokio::test]
async fn a_failure_is_given_to_its_caller_and_leaves_the_key_free() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let failed: RunResult<u32> = charge(&idempotency, async { Err(Failed) }).await;
    assert!(matches!(failed, Err(RunError::Failed(Failed))));
    let again = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(again.expect("a value"), Run::Executed(2));
}

// proves: panic-frees-key
#[tokio::test]
async fn a_panic_is_a_refusal_and_leaves_the_key_free() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let work = async { panic!("the work panics, as this test wants it to") };
    let panicked: RunResult<u32> = charge(&idempotency, work).await;
    assert!(matches!(
        panicked,
        Err(RunError::Rejected(Rejection::Panicked))
    ));
    let again = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(again.expect("a value"), Run::Executed(2));
}

// proves: oversized-response-leaves-tombstone
#[tokio::test]
async fn a_value_that_cannot_be_written_reaches_its_caller_and_is_not_made_again() {
    let idempotency = Idempotency::new(MemoryStore::new());
    // JSON has no objects with pairs as names.
    let value = BTreeMap::from([((1, 2), 3)]);
    let first = charge(&idempotency, std::future::ready(Ok(value.clone()))).await;
    assert_eq!(first.expect("a value"), Run::Executed(value.clone()));
    let again = charge(&idempotency, std::future::ready(Ok(value))).await;
    assert!(matches!(
        again,
        Err(RunError::Rejected(Rejection::NotStored))
    ));
}

// proves: other-version-is-error, damaged-record-frees-key
#[tokio::test]
async fn a_value_that_cannot_be_read_is_an_error_and_not_made_again() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let first = charge(&idempotency, async { Ok("text".to_owned()) }).await;
    assert_eq!(first.expect("a value"), Run::Executed("text".into()));
    let again: RunResult<u32> = charge(&idempotency, async { Ok(1) }).await;
    assert!(matches!(
        again,
        Err(RunError::Rejected(Rejection::Store(_)))
    ));
}

// proves: other-body-refused
#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let first = charge(&idempotency, async { Ok(1) }).await;
    assert_eq!(first.expect("a value"), Run::Executed(1));
    let refund = refund(&idempotency, 2).await;
    assert!(matches!(refund, Err(RunError::Rejected(Rejection::Reused))));
    let again = charge(&idempotency, async { Ok(3) }).await;
    assert_eq!(again.expect("a value"), Run::Replayed(1));
}

// proves: key-case-counts, digest-parts-delimited, principals-are-separate, cross-user-replay
// proves: keys-in-logs
#[tokio::test]
async fn keys_of_other_scopes_are_other_keys() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let scopes = [
        Scope::anonymous(),
        Scope::principal("a"),
        Scope::principal("ab"),
        Scope::credentials(b""),
        Scope::credentials(b"a"),
    ];
    for scope in &scopes {
        for name in ["b", "B", "bb"] {
            let run = idempotency
                .run(scope, &key(name), asked("charge"), async {
                    Ok::<_, Failed>(1)
                })
                .await;
            assert_eq!(run.expect("a value"), Run::Executed(1), "{scope:?} {name}");
        }
    }
}

// proves: unknown-scope-is-error
#[tokio::test]
async fn work_for_a_principal_without_a_name_is_refused() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let (nobody, key) = (Scope::principal(""), key("k"));
    let run = idempotency.run(&nobody, &key, asked("charge"), async { Ok::<_, Failed>(1) });
    assert!(matches!(
        run.await,
        Err(RunError::Rejected(Rejection::NoPrincipal))
    ));
}
