//! What a copy of the store reveals, and what needs the secret.

use std::collections::HashSet;

use idempotency::{Fingerprint, IdempotencyBuilder, store::Phase};
use tests::reply::Reply;

use crate::test_server::TestServer;

const SECRET: &[u8] = b"a secret of thirty-two characters";

/// A child key, made of these parts.
fn derived(parts: &[&[u8]]) -> String {
    let digest = Fingerprint::of(parts.iter().copied());
    let mut bytes: [u8; 16] = digest.as_bytes()[1..17].try_into().expect("16 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// With this secret, or without one if it is empty.
fn with(builder: IdempotencyBuilder, secret: &[u8]) -> IdempotencyBuilder {
    match secret {
        b"" => builder,
        secret => builder.with_secret(secret),
    }
}

// proves: fingerprint-hides-body, guessed-key-reveals-nothing, store-sees-digests-only
#[tokio::test]
async fn equal_requests_of_two_callers_have_unequal_fingerprints_in_the_store() {
    for secret in [b"".as_slice(), SECRET] {
        let server = TestServer::configured(|builder| with(builder, secret)).await;
        for caller in ["Bearer ann", "Bearer bob", "Basic YTpi"] {
            Reply::to(server.booking("k").header("authorization", caller))
                .await
                .assert_fresh(201);
        }
        Reply::to(server.booking("k")).await.assert_fresh(201);
        let records = server.list().await;
        let fingerprints: HashSet<_> = records.iter().map(|record| record.fingerprint).collect();
        assert_eq!((records.len(), fingerprints.len()), (4, 4));
    }
}

/// Another service with the same secret and store counts as another caller.
// proves: fingerprint-hides-body, store-sees-digests-only
#[tokio::test]
async fn equal_requests_to_two_services_have_unequal_fingerprints() {
    let mut fingerprints = HashSet::new();
    for namespace in ["orders", "invoices"] {
        let server =
            TestServer::configured(|builder| builder.with_secret(SECRET).with_namespace(namespace))
                .await;
        Reply::to(server.booking("k")).await.assert_fresh(201);
        fingerprints.insert(server.only_record().await.1);
    }
    assert_eq!(fingerprints.len(), 2);
}

// proves: fingerprint-hides-body, downstream-key-derived, guessed-key-reveals-nothing
#[tokio::test]
async fn no_child_key_can_be_derived_from_the_store_without_the_secret() {
    let server = TestServer::configured(|builder| builder.with_secret(SECRET)).await;
    let done = Reply::to(server.post("/steps", "k", "\"go on\"")).await;
    done.assert_fresh(201);
    let sent = done.json()["keys"][0].clone();
    let (hold, fingerprint) = server.only_record().await;
    let (id, asked) = (hold.id.as_bytes(), fingerprint.as_bytes());
    for guess in [
        derived(&[b"child 1", id, b"charge"]),
        derived(&[b"child 2", id, asked, b"charge"]),
        derived(&[b"child 3", b"", id, asked, b"charge"]),
        derived(&[b"child 3", b"another secret", id, asked, b"charge"]),
    ] {
        assert_ne!(sent, guess);
    }
    let with_secret = derived(&[b"child 3", SECRET, id, asked, b"charge"]);
    assert_eq!(sent, with_secret);
}

/// A version that derives other child keys would pay twice for runs that this one has begun, and refuse their retries as
/// requests that differ.
// proves: custom-versioned-fingerprint, downstream-key-derived, upgrade-changes-key-derivation
#[tokio::test]
async fn fingerprints_and_child_keys_stay_what_they_are() {
    for (secret, child_key) in [
        (b"".as_slice(), "262086c5-a56a-82ed-a7a5-704e8e6256c9"),
        (SECRET, "9ff31a74-30bd-8fc2-9fa9-08a21417bdc1"),
    ] {
        let server = TestServer::configured(|builder| with(builder, secret)).await;
        let first = Reply::to(server.post("/steps", "k", "\"go on\"")).await;
        first.assert_fresh(201);
        // The child key is derived from the fingerprint, so it covers both.
        assert_eq!(first.json()["keys"][0], child_key);
    }
}

// proves: records-encrypted-and-purgeable
#[tokio::test]
async fn a_stored_response_is_readable_with_the_secret_only() {
    for (secret, is_readable) in [(b"".as_slice(), true), (SECRET, false)] {
        let server = TestServer::configured(|builder| with(builder, secret)).await;
        let first = Reply::to(server.booking("k")).await;
        first.assert_fresh(201);
        let mut store = server.idempotency.store();
        while let Some(wrapped) = store.wrapped() {
            store = wrapped;
        }
        let (hold, _) = server.only_record().await;
        let found = store.inspect(&hold.id).await.expect("a readable record");
        let Some(Phase::Completed { outcome }) = found.map(|record| record.phase) else {
            panic!("a completed record");
        };
        let body = first.body.as_ref();
        assert!(!body.is_empty());
        assert_eq!(
            outcome.windows(body.len()).any(|part| part == body),
            is_readable
        );
        Reply::to(server.booking("k")).await.assert_replays(&first);
    }
}
