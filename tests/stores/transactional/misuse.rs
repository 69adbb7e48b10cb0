//! Transactions of PostgreSQL that look as if they could be committed.

use std::{sync::Arc, time::Duration};

use axum::{http::StatusCode, response::Response};
use idempotency::{CommitError, Execution, Fingerprint, Hold, MemoryStore, Store, Token};
use rstest::rstest;
use sqlx::{Acquire, PgPool, Postgres, Transaction, query, raw_sql};

use super::{Database, Kind, Service, World};

/// Where the keys are of the handler that commits.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// There are none.
    None,
    /// In another store, under a lease.
    Elsewhere,
    /// Beside the bookings, under a lease.
    Leased,
    /// Beside the bookings, and the transaction carries them.
    Transactional,
}

/// What the handler has done to its transaction.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It is a savepoint of another one, which is dropped afterwards.
    Nested,
    /// A statement failed, and the handler goes on.
    Aborted,
    /// It has sent `ROLLBACK`.
    RolledBack,
    /// It has sent `COMMIT`.
    Committed,
}

/// The server says nothing against the `COMMIT` of any of these, and yet nothing is committed by it.
// proves: rows-and-key-commit-together, ended-transaction-passes-commit
#[rstest]
#[tokio::test]
async fn what_cannot_be_committed_is_not_taken_for_committed(
    #[values(Keys::None, Keys::Elsewhere, Keys::Leased, Keys::Transactional)] keys: Keys,
    #[values(Fault::Nested, Fault::Aborted, Fault::RolledBack, Fault::Committed)] fault: Fault,
) {
    let Some(world) = World::new(Kind::Postgres).await else {
        return;
    };
    let (service, path) = match keys {
        Keys::Elsewhere => {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            (
                Service::start(world.database.clone(), store).await,
                "leased",
            )
        }
        Keys::None | Keys::Leased => (world.service().await, "leased"),
        Keys::Transactional => (world.service().await, "book"),
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
    let said = service.levers.failures.lock().concat();
    match fault {
        Fault::Aborted => {
            assert_eq!(said, "the transaction was not committed");
            assert_eq!(first.status, 503, "{first:?}");
        }
        Fault::Nested => {
            assert!(said.contains("nested"), "{said}");
            assert_eq!(first.status, 500, "{first:?}");
        }
        Fault::RolledBack | Fault::Committed => {
            assert!(said.contains("SQL of the handler's own"), "{said}");
            assert_eq!(first.status, 500, "{first:?}");
        }
    }
    // What the handler has committed by itself is there, and nobody can undo it.
    let booked: &[&str] = match fault {
        Fault::Committed => &["Ann"],
        Fault::Nested | Fault::Aborted | Fault::RolledBack => &[],
    };
    assert_eq!(world.guests().await, booked);
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
    assert!(world.guests().await.contains(&"Ben".to_owned()));
}

/// A savepoint that was released within the transaction, or left open in it, does not keep it from being committed.
// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_transaction_with_savepoints_is_committed() {
    let Some(world) = World::new(Kind::Postgres).await else {
        return;
    };
    let Database::Postgres(pool) = &world.database else {
        return;
    };
    let mut transaction = pool.begin().await.expect("a transaction");
    let mut nested = transaction.begin().await.expect("a savepoint");
    insert(&mut nested, "Ann").await.expect("a booking");
    nested.commit().await.expect("its release");
    let mut nested = transaction.begin().await.expect("a savepoint");
    insert(&mut nested, "Ben").await.expect("a booking");
    drop(nested);
    raw_sql("savepoint own")
        .execute(&mut *transaction)
        .await
        .expect("a savepoint");
    insert(&mut transaction, "Cleo").await.expect("a booking");
    let committed = Execution::unprotected().commit(transaction, ()).await;
    committed.expect("a commit");
    assert_eq!(world.guests().await, ["Ann", "Cleo"]);
}

/// A transaction that has written nothing has no number by which the server could be seen to have it open.
// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_transaction_that_has_written_nothing_is_committed_with_its_key() {
    let Some(world) = World::new(Kind::Postgres).await else {
        return;
    };
    let service = world.service().await;
    for (path, key) in [("/book/empty", "k"), ("/leased/empty", "l")] {
        let first = service.send(path, key, "Ann").await;
        assert_eq!((first.status, first.is_replayed), (201, false), "{first:?}");
        let retry = service.send(path, key, "Ann").await;
        assert_eq!((retry.status, retry.is_replayed), (201, true), "{retry:?}");
    }
}

/// What is left of a claim that was withdrawn is no record.
// proves: rows-and-key-commit-together, dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_transaction_takes_the_place_of_a_spent_token() {
    let Some(world) = World::new(Kind::Postgres).await else {
        return;
    };
    let service = world.service().await;
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
    assert_eq!((first.status, first.is_replayed), (201, false), "{first:?}");
    let retry = service.send("/book/now", "k", "Ann").await;
    assert_eq!((retry.status, retry.is_replayed), (201, true), "{retry:?}");
    assert_eq!(world.guests().await, ["Ann"]);
}

impl Service {
    /// Commits a booking in a transaction with which something is wrong, or that stops in the middle.
    pub(super) async fn book_wrongly(
        &self,
        what: &str,
        execution: &Execution,
        guest: &str,
    ) -> Result<Response, CommitError> {
        let Database::Postgres(pool) = &self.database else {
            panic!("only PostgreSQL's transactions are the application's own");
        };
        let booked = self.commit_wrongly(pool, what, execution, guest).await;
        if let Err(error) = &booked {
            self.levers.failures.lock().push(error.to_string());
        }
        booked
    }

    async fn commit_wrongly(
        &self,
        pool: &PgPool,
        what: &str,
        execution: &Execution,
        guest: &str,
    ) -> Result<Response, CommitError> {
        let failed = |error: sqlx::Error| CommitError::Failed(error.into());
        let mut transaction = pool.begin().await.map_err(failed)?;
        let answer = (StatusCode::CREATED, format!("{guest} has a room"));
        if what == "nested" {
            let mut nested = transaction.begin().await.map_err(failed)?;
            insert(&mut nested, guest).await.map_err(failed)?;
            return execution.commit(nested, answer).await;
        }
        if what == "empty" {
            return execution.commit(transaction, answer).await;
        }
        insert(&mut transaction, guest).await.map_err(failed)?;
        let statement = match what {
            "stop-in-the-transaction" => {
                self.levers.arrived.add_permits(1);
                self.levers.pass.acquire().await.expect("a gate").forget();
                return execution.commit(transaction, answer).await;
            }
            "aborted" => "select 1 / 0",
            "rolled-back" => "rollback",
            "committed" => "commit",
            _ => panic!("nothing is wrong with {what}"),
        };
        // Its error, where there is one, is nothing to this handler.
        drop(raw_sql(statement).execute(&mut *transaction).await);
        execution.commit(transaction, answer).await
    }
}

async fn insert(
    transaction: &mut Transaction<'_, Postgres>,
    guest: &str,
) -> Result<(), sqlx::Error> {
    let insert = query("insert into bookings values ($1)").bind(guest);
    insert.execute(&mut **transaction).await.map(drop)
}
