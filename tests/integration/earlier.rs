//! Records with fingerprints of versions 1 and 2, or with steps of version 1, which this version meets in a rolling deployment.

use bytes::Bytes;
use idempotency::{
    Fingerprint, OnLost,
    fingerprint::canonical_json,
    store::{Claim, ClaimRequest, Hold, IfOwner, Token},
};
use tests::reply::Reply;

use crate::test_server::{BOOKING, TestServer};

/// The child key "charge" of the request "go on" under the key "k" without a scope, as versions 1 and 2 derived it.
const CHILD_KEYS: [(u8, &str); 2] = [
    (1, "3a212523-1e37-861d-94ca-b49ec10d3233"),
    (2, "073edfbc-cccf-8b70-ac2e-4f37fc8ee58e"),
];

/// The step "charge" with the result "receipt 1", as version 1 wrote it. The second byte says whether its run is
/// suspended.
const STEPS: [u8; 27] = *b"\x01\x00\x00\x00\x00\x06charge\x00\x00\x00\x0b\"receipt 1\"";

/// Leaves the key "k" as a lost run of this version with this progress would.
async fn abandon(
    server: &TestServer,
    version: u8,
    path: &str,
    json: &str,
    progress: &[u8],
) -> (Hold, Fingerprint) {
    Reply::to(server.post(path, "k", json))
        .await
        .assert_fresh(201);
    let (mut hold, _) = server.only_record().await;
    server.pass(3660);
    server.probe.forget_runs();
    hold.token = Token::random();
    let fingerprint = of_version(version, path, json);
    let store = server.idempotency.store();
    let claim = store
        .claim(ClaimRequest::new(&hold, &fingerprint, OnLost::Refuse))
        .await;
    assert!(
        matches!(claim, Ok(Claim::Won { attempt: 1, .. })),
        "{claim:?}"
    );
    let kept = store.checkpoint(&hold, Bytes::copy_from_slice(progress));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    (hold, fingerprint)
}

/// The record that this version wrote for a POST of JSON under the key "k", without a secret.
pub(crate) fn of_version(version: u8, path: &str, json: &str) -> Fingerprint {
    let form = canonical_json(json.as_bytes()).expect("JSON");
    let head = ["POST", path, "", "", "application/json", "", "json"].map(str::as_bytes);
    let mut asked = *Fingerprint::of(head.into_iter().chain([form.as_slice()])).as_bytes();
    asked[0] = 1;
    let kept = Fingerprint::of([b"fingerprint".as_slice(), b"", b"k", &asked]);
    let mut kept = *kept.as_bytes();
    kept[0] = version;
    Fingerprint::from_bytes(kept)
}

// proves: custom-versioned-fingerprint, other-version-is-error, upgrade-changes-key-derivation
#[tokio::test]
async fn a_response_of_an_earlier_version_is_replayed_to_the_same_request_only() {
    for version in [1, 2] {
        let server = TestServer::new().await;
        let first = Reply::to(server.booking("k")).await;
        let (mut hold, fingerprint) = server.only_record().await;
        let store = server.idempotency.store();
        let claim = store
            .claim(ClaimRequest::new(&hold, &fingerprint, OnLost::Refuse))
            .await;
        let Ok(Claim::Completed { outcome, .. }) = claim else {
            panic!("it is completed, and not {claim:?}");
        };
        server.pass(3660);
        hold.token = Token::random();
        let fingerprint = of_version(version, "/bookings", BOOKING);
        let claim = store
            .claim(ClaimRequest::new(&hold, &fingerprint, OnLost::Refuse))
            .await;
        assert!(matches!(claim, Ok(Claim::Won { .. })), "{claim:?}");
        let running = Reply::to(server.booking("k")).await;
        running.assert_problem("idempotency_in_progress");
        let completed = store.complete(&hold, outcome).await;
        assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");

        let again = Reply::to(server.booking("k")).await;
        assert!(again.is_replay(), "version {version}: {again:?}");
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        let reused = Reply::to(server.post("/bookings", "k", "{}")).await;
        reused.assert_problem("idempotency_key_reused");
        assert_eq!(server.probe.runs(), 1);
    }
}

/// A charge that an earlier version sent under its child key must not be sent under another.
// proves: custom-versioned-fingerprint, downstream-key-derived, other-version-is-error
// proves: upgrade-changes-key-derivation
#[tokio::test]
async fn a_run_of_an_earlier_version_is_taken_over_with_its_steps_and_child_keys() {
    for (version, child_key) in CHILD_KEYS {
        let server = TestServer::new().await;
        let (hold, fingerprint) = abandon(&server, version, "/steps", "\"go on\"", &STEPS).await;
        server.pass(31);
        let reused = Reply::to(server.post("/steps", "k", "\"\"")).await;
        reused.assert_problem("idempotency_key_reused");
        let done = Reply::to(server.post("/steps", "k", "\"go on\"")).await;
        done.assert_fresh(201);
        assert_eq!(done.json()["attempt"], 2);
        assert_eq!(done.json()["receipt"], "receipt 1");
        assert_eq!(done.json()["keys"][0], child_key);
        assert_eq!(server.probe.runs(), 1);
        let found = server.idempotency.store().inspect(&hold.id).await;
        let found = found.expect("a response").expect("a record");
        assert_eq!(found.fingerprint, fingerprint);
        Reply::to(server.post("/steps", "k", "\"go on\""))
            .await
            .assert_replays(&done);
    }
}

// proves: dead-owner-taken-over, other-version-is-error, upgrade-changes-key-derivation
#[tokio::test]
async fn a_run_of_version_1_that_has_suspended_itself_is_not_lost() {
    let server = TestServer::new().await;
    let mut suspended = STEPS;
    suspended[1] = 1;
    abandon(&server, 1, "/steps/refuse", "\"go on\"", &suspended).await;
    server.pass(31);
    // The store fails twice between the claim and the run. Afterwards nothing is held and nothing is lost.
    for failed in 1..=2 {
        match failed {
            1 => server.faults.checkpoint.lose_requests(1),
            _ => server.faults.checkpoint.lose_replies(1),
        }
        let refused = Reply::to(server.post("/steps/refuse", "k", "\"go on\"")).await;
        refused.assert_problem("idempotency_store_unavailable");
        server.faults.withdraw.called(failed).await;
    }
    let done = Reply::to(server.post("/steps/refuse", "k", "\"go on\"")).await;
    done.assert_fresh(201);
    assert_eq!(done.json()["receipt"], "receipt 1");
    assert_eq!(server.probe.runs(), 1);
}

// proves: dead-owner-taken-over, interrupted-run-stuck
#[tokio::test]
async fn a_run_of_version_1_that_is_lost_stays_lost() {
    let server = TestServer::new().await;
    abandon(&server, 1, "/lost", BOOKING, &[]).await;
    server.pass(31);
    let refused = Reply::to(server.post("/lost", "k", BOOKING)).await;
    refused.assert_problem("idempotency_outcome_unknown");
    assert_eq!(server.probe.runs(), 0);
}
