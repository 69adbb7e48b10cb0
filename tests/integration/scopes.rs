//! Whose key it is.

use idempotency::{IdempotencyKey, Scope};
use tests::reply::Reply;

use crate::test_server::{BOOKING, TestServer};

// proves: token-change-keeps-keys, principals-are-separate, cross-user-replay
// proves: token-rotation-changes-scope
#[tokio::test]
async fn a_principal_keeps_its_keys_to_itself_when_its_token_changes() {
    let server = TestServer::new().await;
    let request = |token: &str, body| {
        server
            .post("/accounts/bookings", "k", body)
            .header("authorization", format!("Bearer {token}"))
    };
    let first = Reply::to(request("ann-1", BOOKING)).await;
    first.assert_fresh(201);
    Reply::to(request("ann-2", BOOKING))
        .await
        .assert_replays(&first);
    // Another principal cannot tell that the key was used, whether it sends the same body or another.
    let other = Reply::to(request("bob-1", BOOKING)).await;
    other.assert_fresh(201);
    assert_eq!(other.json()["run"], 2);
    let reused = Reply::to(request("bob-1", "{}")).await;
    reused.assert_problem("idempotency_key_reused");
    Reply::to(request("ann-1", BOOKING))
        .await
        .assert_replays(&first);
}

// proves: authorization-before-key, unauthorized-gets-no-replay, revoked-permission-blocks-replay
// proves: replay-skips-authorization, credentials-stored-in-response
#[tokio::test]
async fn who_is_not_let_in_gets_no_replay_and_no_word_of_the_key() {
    let server = TestServer::new().await;
    let request = |token: &str, key: &str| {
        server
            .post("/accounts/bookings", key, BOOKING)
            .header("authorization", format!("Bearer {token}"))
    };
    Reply::to(request("ann-1", "k")).await.assert_fresh(201);
    let claims = server.faults.claim.calls();
    for key in ["k", "\"malformed"] {
        Reply::to(request("revoked", key)).await.assert_fresh(401);
    }
    assert_eq!(server.faults.claim.calls(), claims);
}

// proves: principals-are-separate, cross-user-replay
#[tokio::test]
async fn callers_with_different_credentials_are_kept_apart_by_default() {
    let server = TestServer::new().await;
    let request = |authorization: &str| server.booking("k").header("authorization", authorization);
    for authorization in ["Bearer one", "Bearer two", "Basic b25lOnR3bw=="] {
        let first = Reply::to(request(authorization)).await;
        first.assert_fresh(201);
        Reply::to(request(authorization))
            .await
            .assert_replays(&first);
    }
    Reply::to(server.booking("k")).await.assert_fresh(201);
    assert_eq!(server.probe.runs(), 4);
}

// proves: unknown-scope-is-error
#[tokio::test]
async fn a_scope_that_is_not_known_is_a_mistake_of_the_service_not_anonymous() {
    let server = TestServer::new().await;
    let response = Reply::to(server.post("/tenants", "k", BOOKING)).await;
    response.assert_problem("idempotency_misconfigured");
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
    let request = |tenant: &str| {
        server
            .post("/tenants", "k", BOOKING)
            .header("x-tenant", tenant.to_owned())
    };
    let first = Reply::to(request("a")).await;
    first.assert_fresh(201);
    Reply::to(request("b")).await.assert_fresh(201);
    Reply::to(request("a")).await.assert_replays(&first);
}

// proves: digest-parts-delimited, guessed-key-reveals-nothing, store-sees-digests-only
// proves: key-names-other-storage, keys-in-logs
#[tokio::test]
async fn no_key_reaches_into_another_scope_or_the_storage() {
    let server = TestServer::new().await;
    let request = |tenant: &str, key: &str| {
        server
            .post("/tenants", &format!("\"{key}\""), BOOKING)
            .header("x-tenant", tenant.to_owned())
    };
    for (tenant, key) in [
        ("a", "bc"),
        ("ab", "c"),
        ("a:b", "c"),
        ("a", "b:c"),
        ("a", "%"),
        ("a", "*"),
        ("a", "_"),
    ] {
        Reply::to(request(tenant, key)).await.assert_fresh(201);
    }
    for key in ["' or 1=1 --", "../../etc/passwd", "user", "../records"] {
        Reply::to(request("a", key)).await.assert_fresh(201);
        assert!(Reply::to(request("a", key)).await.is_replay());
    }
    assert_eq!(server.probe.runs(), 11);
    // The store holds only digests of names, keys and fingerprints.
    let records = server.list().await;
    assert_eq!(records.len(), 11);
    for record in &records {
        let stored: Vec<u8> = [
            record.id.as_bytes().as_slice(),
            record.fingerprint.as_bytes(),
        ]
        .concat();
        assert!(!stored.windows(6).any(|window| window == b"passwd"));
    }
}

// proves: fingerprint-hides-body
#[tokio::test]
async fn equal_bodies_have_unequal_fingerprints_in_the_store() {
    let server = TestServer::new().await;
    Reply::to(server.booking("one")).await.assert_fresh(201);
    Reply::to(server.booking("two")).await.assert_fresh(201);
    let records = server.list().await;
    assert_eq!(records.len(), 2);
    assert_ne!(records[0].fingerprint, records[1].fingerprint);
}

// proves: other-method-or-path-refused, components-derive-different-keys
#[tokio::test]
async fn handlers_layers_and_operators_mean_the_same_record() {
    let server = TestServer::new().await;
    let attributed = Reply::to(server.booking("k")).await;
    attributed.assert_fresh(201);
    let layered = Reply::to(server.post("/layered/bookings", "k", BOOKING)).await;
    layered.assert_problem("idempotency_key_reused");
    let key = IdempotencyKey::new("k").expect("a key");
    let id = server.idempotency.record_id(&Scope::anonymous(), &key);
    assert_eq!(server.only_record().await.0.id, id);

    let request = server.post("/accounts/bookings", "\"k\"", BOOKING);
    Reply::to(request.header("authorization", "Bearer ann-1"))
        .await
        .assert_fresh(201);
    let id = server.idempotency.record_id(&Scope::principal("ann"), &key);
    let record = server.idempotency.store().inspect(&id).await;
    assert!(record.expect("a response").is_some());
}

#[tokio::test]
async fn credentials_that_are_sent_twice_are_refused() {
    let server = TestServer::new().await;
    for second in ["Bearer one", "Bearer two"] {
        let request = server
            .booking("k")
            .header("authorization", "Bearer one")
            .header("authorization", second);
        Reply::to(request)
            .await
            .assert_problem("credentials_repeated");
    }
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
    // A handler's own scope takes precedence over them.
    let request = server
        .post("/tenants", "k", BOOKING)
        .header("x-tenant", "a")
        .header("authorization", "Bearer one")
        .header("authorization", "Bearer two");
    Reply::to(request).await.assert_fresh(201);
}

// proves: unknown-scope-is-error
#[tokio::test]
async fn a_principal_without_a_name_is_a_mistake_of_the_service() {
    let server = TestServer::new().await;
    let request = server.post("/tenants", "k", BOOKING).header("x-tenant", "");
    Reply::to(request)
        .await
        .assert_problem("idempotency_misconfigured");
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
}
