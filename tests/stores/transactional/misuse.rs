//! Transactions of PostgreSQL that look as if they could be committed.

use std::{sync::Arc, time::Duration};

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use idempotency::{
    CommitError, Execution, Fingerprint, MemoryStore, Store,
    store::{Hold, Token},
};
use rstest::rstest;
use rstest_reuse::apply;

use super::{ClientKind, Database, Kind, Service, TransactionalApp, Way, each_client};

/// Where the committing handler's keys are.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// There are none.
    None,
    /// In another store, under a lease.
    Elsewhere,
    /// In the bookings' database, under a lease.
    Leased,
    /// In the bookings' database, committed by the transaction.
    Transactional,
}

/// What the handler has done to its transaction.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is a savepoint of another one, which is dropped afterwards.
    Nested,
    /// A statement failed, and the handler continues.
    Aborted,
    /// It has sent `ROLLBACK`.
    RolledBack,
    /// It has sent `COMMIT`.
    Committed,
}

/// The server reports no error for the `COMMIT` of any of these, and yet commits nothing.
// proves: rows-and-key-commit-together, ended-transaction-passes-commit
#[rstest]
#[tokio::test]
async fn what_cannot_be_committed_is_not_taken_for_committed(
    #[values(Keys::None, Keys::Elsewhere, Keys::Leased, Keys::Transactional)] keys: Keys,
    #[values(Fault::Nested, Fault::Aborted, Fault::RolledBack, Fault::Committed)] fault: Fault,
    #[values(ClientKind::Sqlx09, ClientKind::Sqlx08, ClientKind::TokioPostgres)] client: ClientKind,
) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let (service, path) = match keys {
        Keys::Elsewhere => {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            (Service::start(app.database.clone(), store).await, "leased")
        }
        Keys::None | Keys::Leased => (app.service().await, "leased"),
        Keys::Transactional => (app.service().await, "book"),
    };
    let what = match fault {
        Fault::Nested => "nested",
        Fault::Aborted => "aborted",
        Fault::RolledBack => "rolled-back",
        Fault::Committed => "committed",
    };
    let first = match keys {
        Keys::None => {
            service
                .send_without_a_key(&format!("/{path}/{what}"), "Ann")
                .await
        }
        _ => service.send(&format!("/{path}/{what}"), "k", "Ann").await,
    };
    let said = service.probe.failures.lock().concat();
    match fault {
        Fault::Aborted => {
            assert_eq!(said, "the transaction did not commit");
            assert_eq!(first.status, 503, "{first:?}");
        }
        Fault::Nested => {
            assert!(said.contains("nested"), "{said}");
            assert_eq!(first.status, 500, "{first:?}");
        }
        Fault::RolledBack | Fault::Committed => {
            assert!(said.contains("the handler's own SQL"), "{said}");
            assert_eq!(first.status, 500, "{first:?}");
        }
    }
    // The handler's own commit stands, and cannot be undone.
    let booked: &[&str] = match fault {
        Fault::Committed => &["Ann"],
        Fault::Nested | Fault::Aborted | Fault::RolledBack => &[],
    };
    assert_eq!(app.guests().await, booked);
    assert_eq!(service.record("k").await, None);
    // The key is free, and so is the connection.
    let retry = match keys {
        Keys::None => {
            service
                .send_without_a_key(&format!("/{path}/now"), "Ben")
                .await
        }
        _ => service.send(&format!("/{path}/now"), "k", "Ben").await,
    };
    assert_eq!(retry.status, 201, "{retry:?}");
    assert!(app.guests().await.contains(&"Ben".to_owned()));
}

/// Nested transactions that have ended do not prevent the commit.
// proves: rows-and-key-commit-together
#[apply(each_client)]
#[tokio::test]
async fn a_transaction_around_a_nested_one_is_committed(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let service = app.service().await;
    let first = service.send("/book/around-nested", "k", "Ann").await;
    first.assert_fresh(201);
    let retry = service.send("/book/around-nested", "k", "Ann").await;
    retry.assert_replay(201);
    let alone = service
        .send_without_a_key("/book/empty", "without a key")
        .await;
    assert_eq!(alone.status, 201, "{alone:?}");
    assert_eq!(app.guests().await, ["Ann", "Zoe"]);
}

/// tokio-postgres does not tell a nested transaction from another, so one that may be nested is refused.
// proves: rows-and-key-commit-together
#[apply(each_client)]
#[tokio::test]
async fn an_open_savepoint_is_refused_where_it_may_be_that_of_a_nested_transaction(
    #[case] client: ClientKind,
) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let service = app.service().await;
    let may_be_nested = matches!(client, ClientKind::TokioPostgres);
    let keyed = service.send("/book/savepoint", "k", "Ann").await;
    let alone = service.send_without_a_key("/book/savepoint", "Ben").await;
    for told in [keyed, alone] {
        assert_eq!(
            told.status,
            if may_be_nested { 500 } else { 201 },
            "{told:?}"
        );
    }
    let said = service.probe.failures.lock().concat();
    assert_eq!(
        said.contains("release its savepoints"),
        may_be_nested,
        "{said}"
    );
    let guests: &[&str] = if may_be_nested { &[] } else { &["Ann", "Ben"] };
    assert_eq!(app.guests().await, guests);
    assert_eq!(service.record("k").await.is_none(), may_be_nested);
}

/// A transaction that has written nothing has no id by which the server could show that it is open.
// proves: rows-and-key-commit-together
#[apply(each_client)]
#[tokio::test]
async fn a_transaction_that_has_written_nothing_is_committed_with_its_key(
    #[case] client: ClientKind,
) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let service = app.service().await;
    for (path, key) in [("/book/empty", "k"), ("/leased/empty", "l")] {
        let first = service.send(path, key, "Ann").await;
        first.assert_fresh(201);
        let retry = service.send(path, key, "Ann").await;
        retry.assert_replay(201);
    }
}

/// The mark that a withdrawn claim leaves is not a record.
// proves: rows-and-key-commit-together, dropped-future-loses-nothing, late-claim-holds-key
#[apply(each_client)]
#[tokio::test]
async fn a_transaction_takes_the_place_of_a_spent_token(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let service = app.service().await;
    let hold = Hold::new(
        service.id("k"),
        Token::random(),
        Duration::from_secs(30),
        Duration::from_secs(3600),
    );
    let (store, asked) = (
        service.idempotency.store(),
        Fingerprint::of([b"other".as_slice()]),
    );
    let withdrawn = store.withdraw(&hold, &asked).await;
    withdrawn.expect("a withdrawal");
    let first = service.send("/book/now", "k", "Ann").await;
    first.assert_fresh(201);
    let retry = service.send("/book/now", "k", "Ann").await;
    retry.assert_replay(201);
    assert_eq!(app.guests().await, ["Ann"]);
}

impl Service {
    /// Commits a booking in a transaction with which something is wrong or unusual, or that stops in the middle.
    pub(super) async fn book_in_a_way(
        &self,
        what: &str,
        execution: &Execution,
        guest: &str,
    ) -> Result<Response, CommitError> {
        let Database::Postgres(_, client) = &self.database else {
            panic!("only PostgreSQL's transactions are the application's own");
        };
        let way = match what {
            "stop-in-the-transaction" => Way::Stopping,
            "empty" => Way::Empty,
            "unprepared" => Way::Unprepared,
            "around-nested" => Way::AroundNested,
            "nested" => Way::Nested,
            "savepoint" => Way::Saying("savepoint own"),
            "search-path" => Way::Saying("set local search_path to copy"),
            "aborted" => Way::Saying("select 1 / 0"),
            "rolled-back" => Way::Saying("rollback"),
            "committed" => Way::Saying("commit"),
            _ => panic!("there is no way {what}"),
        };
        let response = (StatusCode::CREATED, format!("{guest} has a room")).into_response();
        let booked = client.book(way, &self.probe, execution, guest, response);
        let booked = booked.await;
        if let Err(error) = &booked {
            self.probe.failures.lock().push(error.to_string());
        }
        booked
    }
}
