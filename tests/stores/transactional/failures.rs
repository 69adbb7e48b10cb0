//! Commits whose replies are lost.

use std::sync::Arc;

use idempotency::PostgresStore;
use rstest_reuse::apply;

use super::{
    Client, ClientKind, Database, Kind, Service, TransactionalApp, each_database, each_driver, pool,
};
use crate::{postgres, proxy::Proxy};

/// A handler that drops its commit does not know the outcome, but its client learns it.
// proves: run-survives-outer-timeout, rows-and-key-commit-together, own-claim-unrecognised
#[apply(each_database)]
#[tokio::test]
async fn a_commit_that_is_given_up_is_found_out(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    for _ in 0..3 {
        let response = service.send("/book/give-up", "k", "Ann").await;
        match app.guests().await.as_slice() {
            // Nothing was committed, and the key is free.
            [] => assert_eq!(response.status, 504, "{response:?}"),
            // It was committed, and the client gets the committed response.
            [_] => assert_eq!(response.status, 201, "{response:?}"),
            guests => panic!("{guests:?}"),
        }
    }
}

/// Its insert had begun, so the commit is finished in the background, and the record shows it.
// proves: run-survives-outer-timeout, rows-and-key-commit-together, own-claim-unrecognised
#[tokio::test]
async fn a_commit_that_is_dropped_midway_is_the_response() {
    let Some(app) = TransactionalApp::new(Kind::Sqlite).await else {
        return;
    };
    let service = app.service().await;
    for (path, key, guest) in [("/book", "k", "Ann"), ("/leased", "l", "Ben")] {
        let path = &format!("{path}/give-up-midway");
        let first = service.send(path, key, guest).await;
        assert_eq!(first.status, 201, "{first:?}");
        let retry = service.send(path, key, guest).await;
        retry.assert_replay(201);
        assert_eq!(retry.body, first.body);
    }
    assert_eq!(service.runs(), 2);
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
}

/// The server has committed, and the connection broke before its reply arrived.
// proves: rows-and-key-commit-together, own-claim-unrecognised, unknown-commit-applied-twice
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_whose_reply_is_lost_is_found_out(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let (service, proxy) = behind_a_proxy(&app, client).await;
    for (path, key, guest) in [("/book/stop", "k", "Ann"), ("/leased/stop", "k2", "Ben")] {
        let first = service.sending(path, key, guest);
        service.arrived().await;
        proxy.lose_the_reply_to(b"COMMIT");
        service.pass();
        let first = first.await.expect("a response");
        first.assert_fresh(201);
        let retry = service.send(path, key, guest).await;
        retry.assert_replay(201);
        assert_eq!(retry.body, first.body);
    }
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
    // The first booking only warms up.
    assert_eq!(service.runs(), 3);
}

/// It is stored nowhere, so only this run has it.
// proves: rows-and-key-commit-together, oversized-response-leaves-tombstone
#[apply(each_driver)]
#[tokio::test]
async fn a_response_that_is_stored_nowhere_survives_a_lost_reply(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let (service, proxy) = behind_a_proxy(&app, client).await;
    for (path, key, guest) in [
        ("/book/stop-secret", "k", "Ann"),
        ("/leased/stop-secret", "k2", "Ben"),
    ] {
        let first = service.sending(path, key, guest);
        service.arrived().await;
        proxy.lose_the_reply_to(b"COMMIT");
        service.pass();
        let first = first.await.expect("a response");
        assert_eq!((first.status.as_u16(), first.text()), (201, "a token"));
        let retry = service.send(path, key, guest).await;
        assert_eq!(retry.json()["code"], "idempotency_response_not_stored");
    }
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
}

/// Its commit was on its way, so the client gets the committed response, and not the handler's own.
// proves: run-survives-outer-timeout, rows-and-key-commit-together, own-claim-unrecognised
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_that_is_dropped_after_it_was_sent_is_the_response(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let (service, proxy) = behind_a_proxy(&app, client).await;
    for (path, key, guest) in [("/book", "k", "Ann"), ("/leased", "k2", "Ben")] {
        proxy.silence_behind(b"COMMIT");
        let first = service.sending(&format!("{path}/give-up-on-a-sign"), key, guest);
        service.arrived().await;
        while !app.guests().await.iter().any(|booked| booked == guest) {}
        service.pass();
        let first = first.await.expect("a response");
        assert_eq!(first.status, 201, "{first:?}");
        let retry = service
            .send(&format!("{path}/give-up-on-a-sign"), key, guest)
            .await;
        retry.assert_replay(201);
        assert_eq!(retry.body, first.body);
    }
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
}

/// The server was lost before it committed, so nothing was.
// proves: rows-and-key-commit-together, own-claim-unrecognised
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_that_never_arrived_is_found_out(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let admin = app.admin();
    // The commit of this guest's booking kills the server process, with the transaction in it.
    let trap = "
        create function die() returns trigger language plpgsql as $$
        begin
            perform pg_terminate_backend(pg_backend_pid());
            perform pg_sleep(60);
            return null;
        end $$;
        create constraint trigger die after insert on bookings deferrable initially deferred
        for each row when (new.guest = 'Ann') execute function die();
    ";
    sqlx::raw_sql(trap).execute(admin).await.expect("a trap");
    let service = app.service().await;
    let first = service.send("/book/now", "k", "Ann").await;
    assert_eq!(first.status, 503, "{first:?}");
    assert!(service.record("k").await.is_none());
    assert_eq!(app.guests().await, [""; 0]);
    sqlx::raw_sql("drop trigger die on bookings")
        .execute(admin)
        .await
        .expect("no trap");
    assert_eq!(service.send("/book/now", "k", "Ann").await.status, 201);
    assert_eq!(app.guests().await, ["Ann"]);
}

/// The server itself says that nothing of it is kept, so the handler may begin anew.
// proves: rows-and-key-commit-together, failures-free-key
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_that_the_server_refuses_leaves_nothing(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let admin = app.admin();
    // As a deferred foreign key, a serialization failure, a deadlock, a rule of the application's own, or a statement that
    // took too long, all of which show only at the commit.
    let trap = "
        create function refuse() returns trigger language plpgsql as $$
        begin
            raise exception 'refused' using errcode = new.guest;
        end $$;
        create constraint trigger refuse after insert on bookings deferrable initially deferred
        for each row execute function refuse();
    ";
    sqlx::raw_sql(trap).execute(admin).await.expect("a trap");
    let service = app.service().await;
    let codes = [
        "23503", "23505", "40001", "40P01", "P0001", "57014", "ABCDE",
    ];
    for path in ["/book/now", "/leased/now"] {
        for code in codes {
            let key = format!("{}-{code}", &path[1..5]);
            let first = service.send(path, &key, code).await;
            assert_eq!(first.status, 503, "{code}: {first:?}");
            assert!(service.record(&key).await.is_none(), "{code}");
            let said = std::mem::take(&mut *service.probe.failures.lock());
            assert_eq!(said, ["the transaction did not commit"], "{code}");
        }
    }
    assert_eq!(app.guests().await, [""; 0]);
    sqlx::raw_sql("drop trigger refuse on bookings")
        .execute(admin)
        .await
        .expect("no trap");
    let retry = service.send("/book/now", "book-40001", "40001").await;
    retry.assert_fresh(201);
    assert_eq!(app.guests().await, ["40001"]);
}

/// The server has committed, and its reply never arrives because the connection has gone dark.
// proves: rows-and-key-commit-together, deaf-store-left-quickly, own-claim-unrecognised
// proves: dead-connection-outlives-lease
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_on_a_connection_that_goes_dark_is_found_out(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let (service, proxy) = behind_a_proxy(&app, client).await;
    for (path, key, guest) in [("/book/now", "k", "Ann"), ("/leased/now", "k2", "Ben")] {
        proxy.silence_behind(b"COMMIT");
        let first = service.send(path, key, guest).await;
        assert_eq!(first.status, 201, "{first:?}");
        let retry = service.send(path, key, guest).await;
        retry.assert_replay(201);
        assert_eq!(retry.body, first.body);
    }
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
    // The first booking only warms up.
    assert_eq!(service.runs(), 3);
}

/// Without a record the outcome is unknown, and the connection is not used again.
// proves: rows-and-key-commit-together, deaf-store-left-quickly, dead-connection-outlives-lease
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_without_a_key_on_a_connection_that_goes_dark_is_unknown(
    #[case] client: ClientKind,
) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let (service, proxy) = behind_a_proxy(&app, client).await;
    proxy.silence_behind(b"COMMIT");
    let first = service.send_without_a_key("/book/now", "Ann").await;
    assert_eq!(first.status, 503, "{first:?}");
    let said = service.probe.failures.lock().concat();
    assert_eq!(said, "it is not known whether the transaction committed");
    assert_eq!(app.guests().await, ["Ann"]);
    for guest in ["Ben", "Cleo"] {
        let next = service.send_without_a_key("/book/now", guest).await;
        assert_eq!(next.status, 201, "{next:?}");
    }
}

/// A commit that was only partly sent is rolled back, and the client learns it while the connection is still dark.
// proves: rows-and-key-commit-together, deaf-store-left-quickly, dead-connection-outlives-lease
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_whose_record_does_not_come_through_is_not_done(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let (service, proxy) = behind_a_proxy(&app, client).await;
    let (path, key) = ("/book/stop-in-the-transaction", "k");
    let first = service.sending(path, key, "Ann");
    service.arrived().await;
    proxy.silence();
    service.pass();
    let first = first.await.expect("a response");
    assert_eq!(first.status, 503, "{first:?}");
    assert_eq!(app.guests().await, [""; 0]);
    assert!(service.record(key).await.is_none());
}

async fn behind_a_proxy(app: &TransactionalApp, client: ClientKind) -> (Service, Proxy) {
    let (proxy, url) = postgres::behind_a_proxy(&app.url).await;
    let (pool, client) = (pool(&url).await, Client::new(client, &url, 10).await);
    let store = Arc::new(PostgresStore::new(pool.clone()));
    let service = Service::start(Database::Postgres(pool, client), store).await;
    // The store first detects poolers.
    assert_eq!(service.send("/book/now", "warm", "Zoe").await.status, 201);
    app.remove("Zoe").await;
    (service, proxy)
}
