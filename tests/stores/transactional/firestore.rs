//! What is special to Firestore: calls are counted, the record has a time of update, and commits may arrive late.

use std::{sync::Arc, time::Duration};

use idempotency::{
    Fingerprint, FirestoreDatabase, FirestoreStore, OnLost,
    store::{ClaimRequest, Hold, IfOwner, Phase, Token},
};
use tests::servers::firestore::{Documents, FirestoreEmulator};

use super::{Database, Kind, Service, TransactionalApp};
use crate::{firestore::tap::Tap, proxy::Proxy, within_a_minute, won};

/// A service in the app's database, and the wire between the two.
async fn behind_a_tap(app: &TransactionalApp) -> Option<(Service, Tap)> {
    let tap = Tap::start(FirestoreEmulator::shared()?).await;
    Some((behind(app, &tap.address()).await, tap))
}

/// A service in the app's database, which it reaches at this address.
async fn behind(app: &TransactionalApp, address: &str) -> Service {
    let database = FirestoreDatabase::connect_to_emulator(&app.url, address).await;
    let database = database.expect("a database");
    let store = Arc::new(FirestoreStore::new(database.clone()));
    let there = Box::new((database, documents(app).clone()));
    Service::start(Database::Firestore(there), store).await
}

fn documents(app: &TransactionalApp) -> &Documents {
    match &app.database {
        Database::Firestore(there) => &there.1,
        other => panic!("Firestore, and not {other:?}"),
    }
}

// proves: replay-never-extends-ttl, rows-and-key-commit-together
#[tokio::test]
async fn a_booking_with_a_key_is_a_read_and_a_commit_and_a_replay_is_a_read() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let Some((service, tap)) = behind_a_tap(&app).await else {
        return;
    };
    tap.calls();
    for (key, guest) in [("k", "Ann"), ("k2", "Ben")] {
        let first = service.send("/book/now", key, guest).await;
        first.assert_fresh(201);
        assert_eq!(tap.calls(), 2, "a first run");
        for _ in 0..2 {
            assert!(service.send("/book/now", key, guest).await.is_replay());
            assert_eq!(tap.calls(), 1, "a replay");
        }
    }
    let without_a_key = service.client.post(format!("{}/book/now", service.address));
    let response = without_a_key.body("Cem").send().await.expect("a response");
    assert_eq!(response.status(), 201);
    assert_eq!(tap.calls(), 1, "a booking without a key");
    assert_eq!(app.guests().await, ["Ann", "Ben", "Cem"]);
}

/// Firestore has committed, and the connection broke before its reply arrived.
// proves: rows-and-key-commit-together, own-claim-unrecognised, contention-as-error
#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_found_out() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let Some((service, tap)) = behind_a_tap(&app).await else {
        return;
    };
    let mut booked = Vec::new();
    for (path, key, guest) in [("/book/stop", "k", "Ann"), ("/leased/stop", "k2", "Ben")] {
        let first = service.sending(path, key, guest);
        service.arrived().await;
        tap.mute_after(0);
        service.pass();
        booked.push(guest);
        let is_booked = async {
            while app.guests().await != booked {
                tokio::task::yield_now().await;
            }
        };
        within_a_minute("the booking", is_booked).await;
        assert!(!first.is_finished());
        tap.cut();

        let first = first.await.expect("a response");
        assert_eq!(first.status, 201, "{first:?}");
        let retry = service.send(path, key, guest).await;
        retry.assert_replay(201);
        assert_eq!(retry.body, first.body);
    }
    assert_eq!(app.guests().await, booked);
    assert_eq!(service.runs(), 2);
}

/// The client learns that nothing was stored. That stays true although the commit arrives later.
// proves: rows-and-key-commit-together, own-claim-unrecognised, generation-counter-restarts
#[tokio::test]
async fn a_commit_that_arrives_late_does_nothing() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let Some((service, tap)) = behind_a_tap(&app).await else {
        return;
    };
    withdraw_a_claim(&service, "k3").await;
    let mut booked = Vec::new();
    for (path, key, guest) in [
        ("/book/stop", "k", "Ann"),
        ("/leased/stop", "k2", "Ben"),
        ("/book/stop", "k3", "Cem"),
    ] {
        let first = service.sending(path, key, guest);
        service.arrived().await;
        tap.hold_back(b"/bookings/");
        service.pass();
        let first = first.await.expect("a response");
        assert_eq!(first.status, 503, "{first:?}");
        assert!(first.text().contains("commit_failed"), "{first:?}");
        tap.let_through().await;
        assert_eq!(app.guests().await, booked);
        assert!(service.record(key).await.is_none());

        let retry = service.sending(path, key, guest);
        service.arrived().await;
        service.pass();
        let retry = retry.await.expect("a response");
        retry.assert_fresh(201);
        booked.push(guest);
        assert_eq!(app.guests().await, booked);
        assert_eq!(*service.probe.attempts.lock(), vec![1; 2 * booked.len()]);
    }
}

/// The outcome of a commit on a dark connection is determined over a new one before the client's timeout.
// proves: rows-and-key-commit-together, deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn a_commit_on_a_dark_connection_is_found_out_over_a_new_one() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let proxy = Proxy::to(emulator.address().parse().expect("an address")).await;
    let service = behind(&app, &proxy.address().to_string()).await;
    let first = service.sending("/book/stop", "k", "Ann");
    service.arrived().await;
    proxy.silence();
    service.pass();
    let first = first.await.expect("a response");
    assert_eq!(first.status, 503, "{first:?}");
    assert!(first.text().contains("commit_failed"), "{first:?}");
    assert!(app.guests().await.is_empty());

    proxy.silence();
    let retry = service.send("/book/now", "k", "Ann").await;
    retry.assert_fresh(201);
    assert_eq!(app.guests().await, ["Ann"]);
}

/// A key whose claim was withdrawn has a document that is not a record.
// proves: rows-and-key-commit-together, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_booking_takes_the_place_of_a_withdrawn_claim() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let Some((service, tap)) = behind_a_tap(&app).await else {
        return;
    };
    let other = app.service().await;
    for (key, guest, elsewhere) in [("k", "Ann", &service), ("k2", "Ben", &other)] {
        let withdrawn = withdraw_a_claim(elsewhere, key).await;
        tap.calls();
        let first = service.send("/book/now", key, guest).await;
        first.assert_fresh(201);
        assert_eq!(tap.calls(), 2, "a first run");
        let record = service.record(key).await.expect("a record");
        assert_ne!(record.token, withdrawn.token);
        assert!(
            matches!(record.phase, Phase::Completed { .. }),
            "{record:?}"
        );
        assert!(service.send("/book/now", key, guest).await.is_replay());
    }
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
    assert_eq!(documents(&app).all().await.len(), 2);
}

/// The key after a claim whose caller has left.
async fn withdraw_a_claim(service: &Service, key: &str) -> Hold {
    let hold = Hold::new(
        service.id(key),
        Token::random(),
        Duration::from_secs(60),
        Duration::from_secs(3600),
    );
    let asked = Fingerprint::of([b"something else".as_slice()]);
    let store = service.idempotency.store();
    let claimed = store
        .claim(ClaimRequest::new(&hold, &asked, OnLost::Refuse))
        .await;
    assert_eq!(claimed.ok(), Some(won(1)));
    let withdrawn = store.withdraw(&hold, &asked).await;
    withdrawn.expect("a withdrawal");
    hold
}

/// Each renewal makes a new version of the document, which the commit does not know.
// proves: rows-and-key-commit-together, contention-as-error
#[tokio::test]
async fn a_renewal_that_comes_between_does_not_fail_the_commit() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let service = app.service().await;
    let first = service.sending("/leased/stop", "k", "Ann");
    service.arrived().await;
    let held = service.record("k").await.expect("a record");
    let hold = Hold::new(
        held.id,
        held.token,
        Duration::from_secs(60),
        Duration::from_secs(3600),
    );
    let renewed = app.store().renew(&hold).await;
    assert_eq!(renewed.ok(), Some(IfOwner::Done(())));
    service.pass();
    let first = first.await.expect("a response");
    first.assert_fresh(201);
    let kept = service.record("k").await.expect("a record");
    assert!(matches!(kept.phase, Phase::Completed { .. }), "{kept:?}");
    assert_eq!(app.guests().await, ["Ann"]);
}

/// The expired document still exists, and the commit overwrites it. Of two commits, one succeeds.
// proves: expired-key-is-new, rows-and-key-commit-together, lost-claim-as-outage
#[tokio::test]
async fn a_key_whose_ttl_has_expired_books_again() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let (one, other) = (app.service().await, app.service().await);
    let first = one.sending("/book/stop", "k", "Ann");
    one.arrived().await;
    one.pass();
    assert_eq!(first.await.expect("a response").status, 201);
    documents(&app).set_back(Duration::from_secs(3660));
    app.remove("Ann").await;

    let again = one.sending("/book/stop", "k", "Ann");
    let elsewhere = other.sending("/book/stop", "k", "Ann");
    one.arrived().await;
    other.arrived().await;
    one.pass();
    let again = again.await.expect("a response");
    again.assert_fresh(201);
    other.pass();
    let elsewhere = elsewhere.await.expect("a response");
    elsewhere.assert_replay(201);
    assert_eq!(documents(&app).all().await.len(), 1);
    assert_eq!(app.guests().await, ["Ann"]);
}

/// The record of a transaction begins and is completed by one commit; that of a lease has its claim's time.
// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_commit_tells_when_its_record_began_and_where_it_comes_from() {
    let Some(app) = TransactionalApp::new(Kind::Firestore).await else {
        return;
    };
    let service = app.service().await;
    let at_once = service.send("/book/now", "k", "Ann").await;
    let leased = service.send("/leased/now", "k2", "Ben").await;
    assert_eq!(
        (at_once.status.as_u16(), leased.status.as_u16()),
        (201, 201)
    );
    let record = service.record("k").await.expect("a record");
    assert!(record.created_at.is_some());
    assert_eq!(record.created_at, record.completed_at);
    assert_eq!(record.labels.route(), Some("POST /book/{what}"));
    let record = service.record("k2").await.expect("a record");
    assert!(record.created_at.is_some());
    assert!(record.created_at < record.completed_at);
    assert_eq!(record.labels.route(), Some("POST /leased/{what}"));
}
