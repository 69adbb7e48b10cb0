//! Errors name the store that has failed.

use idempotency::{
    Idempotency, MemoryStore, Rejection, RunError,
    store::{StoreError, StoreErrorKind},
};

use crate::charge;

#[tokio::test]
async fn the_error_of_a_run_names_the_store_that_failed() {
    let full = MemoryStore::new().with_limit_bytes(0);
    let refused = charge(&Idempotency::new(full), async { Ok(1) }).await;
    let Err(RunError::Rejected(rejection)) = refused else {
        panic!("{refused:?}");
    };
    assert!(rejection.to_string().contains("`memory`"), "{rejection}");
    let Rejection::Store(error) = rejection else {
        panic!("{rejection:?}");
    };
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert_eq!(error.store(), Some("memory"));
}

#[test]
fn the_store_that_failed_stays_named_behind_wrappers() {
    let error = StoreError::unavailable("no connection");
    assert_eq!(error.store(), None);
    assert_eq!(
        error.to_string(),
        "the idempotency store did not respond or failed"
    );
    let error = error.with_store("postgres").with_store("counted");
    assert_eq!(error.store(), Some("postgres"));
    assert_eq!(
        error.to_string(),
        "the idempotency store `postgres` did not respond or failed"
    );
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_that_takes_no_more_writes_is_named() {
    use std::time::Duration;

    use idempotency::{
        OnLost, Scope, SqliteStore, Store,
        store::{ClaimRequest, Hold, Token},
    };

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.db");
    let store = SqliteStore::open(&path).expect("a store");
    // Another file at its path is not the store's.
    std::fs::rename(&path, folder.path().join("moved.db")).expect("a file can be moved");
    std::fs::write(&path, []).expect("a file can be written");
    let id = Idempotency::new(MemoryStore::new()).record_id(&Scope::anonymous(), &crate::key("k"));
    let lease = Duration::from_secs(30);
    let hold = Hold::new(id, Token::random(), lease, lease);
    let fingerprint = crate::asked("charge");
    let request = ClaimRequest::new(&hold, &fingerprint, OnLost::TakeOver);
    let error = store.claim(request).await.expect_err("its file is gone");
    assert_eq!(error.store(), Some("sqlite"), "{error}");
}
