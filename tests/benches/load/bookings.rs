//! Where bookings are kept.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use axum::response::Response;
use idempotency::{
    CommitError, Execution, FirestoreDatabase, FirestoreTransaction, SqliteDatabase,
};
use parking_lot::Mutex;
use redis::{AsyncCommands, Client, aio::MultiplexedConnection};
use rusqlite::{Connection, Error, params};
use sqlx::{PgPool, Postgres, Transaction, query, raw_sql};
use uuid::Uuid;

use crate::service::Booking;

#[derive(Clone)]
pub(crate) enum Bookings {
    Memory(Arc<Mutex<BTreeMap<Uuid, Booking>>>),
    Sqlite(SqliteDatabase, Arc<Mutex<Connection>>),
    Postgres(PgPool),
    Redis(MultiplexedConnection),
    Firestore(FirestoreDatabase),
}

const INSERT: &str = "insert into bookings values (?1, ?2, ?3, ?4, ?5)";

impl Bookings {
    /// Makes the table; and another one in a file beside that one, to which there is one connection.
    pub(crate) async fn in_file(database: SqliteDatabase, folder: &Path) -> Self {
        const CREATE: &str = "
            create table bookings (id text primary key, service_id text not null,
                customer_name text not null, date text not null, time text not null) strict, without rowid;
        ";
        let created = database.write(|connection| connection.execute_batch(CREATE));
        created.await.expect("a new table");
        let alone = Connection::open(folder.join("alone.db")).expect("a file");
        alone
            .execute_batch("pragma journal_mode = wal; pragma synchronous = full;")
            .expect("the same settings");
        alone.execute_batch(CREATE).expect("a new table");
        Self::Sqlite(database, Arc::new(alone.into()))
    }

    pub(crate) async fn in_postgres(pool: PgPool) -> Self {
        let create = "
            create table if not exists bookings (id uuid primary key, service_id text not null,
                customer_name text not null, date text not null, time text not null)
        ";
        raw_sql(create).execute(&pool).await.expect("a table");
        Self::Postgres(pool)
    }

    pub(crate) async fn in_redis(url: &str) -> Self {
        let client = Client::open(url).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await;
        Self::Redis(connection.expect("a connection"))
    }

    /// Keeps a booking as a service does that knows nothing of keys.
    pub(crate) async fn keep(&self, booking: Booking) {
        match self {
            Self::Memory(bookings) => drop(bookings.lock().insert(booking.id, booking)),
            Self::Sqlite(database, _) => {
                let inserted = database.write(move |connection| insert(connection, &booking));
                inserted.await.expect("a booking");
            }
            Self::Postgres(pool) => {
                let transaction = begin_with(pool, booking).await;
                transaction.commit().await.expect("a commit");
            }
            Self::Redis(connection) => {
                let json = serde_json::to_string(&booking).expect("JSON");
                let mut connection = connection.clone();
                let key = format!("booking:{}", booking.id);
                let kept: Result<(), _> = connection.set(key, json).await;
                kept.expect("a booking");
            }
            Self::Firestore(database) => {
                let create = create(database, &booking);
                let kept = Execution::unprotected().commit(create, ()).await;
                kept.expect("a booking");
            }
        }
    }

    /// Keeps a booking together with its key.
    pub(crate) async fn commit(
        &self,
        booking: Booking,
        execution: &Execution,
        answer: Response,
    ) -> Result<Response, CommitError> {
        match self {
            Self::Sqlite(database, _) => {
                let insert = database.transaction(move |connection| insert(connection, &booking));
                execution.commit(insert, answer).await
            }
            Self::Postgres(pool) => {
                let transaction = begin_with(pool, booking).await;
                execution.commit(transaction, answer).await
            }
            Self::Firestore(database) => {
                let create = create(database, &booking);
                execution.commit(create, answer).await
            }
            Self::Memory(_) | Self::Redis(_) => unreachable!("it has no transactions"),
        }
    }

    /// Keeps a booking by a commit of its own, while all others wait.
    pub(crate) async fn keep_alone(&self, booking: Booking) {
        let Self::Sqlite(_, alone) = self else {
            unreachable!("only files are compared in this way");
        };
        let alone = Arc::clone(alone);
        let kept = tokio::task::spawn_blocking(move || insert(&alone.lock(), &booking));
        kept.await.expect("a thread").expect("a booking");
    }
}

fn insert(connection: &Connection, booking: &Booking) -> Result<usize, Error> {
    connection.prepare_cached(INSERT)?.execute(params![
        booking.id.to_string(),
        booking.service_id,
        booking.customer_name,
        booking.date,
        booking.time,
    ])
}

fn create(database: &FirestoreDatabase, booking: &Booking) -> FirestoreTransaction {
    let path = format!("bookings/{}", booking.id);
    database.transaction().create(&path, booking)
}

async fn begin_with(pool: &PgPool, booking: Booking) -> Transaction<'static, Postgres> {
    let mut transaction = pool.begin().await.expect("a transaction");
    let insert = query("insert into bookings values ($1, $2, $3, $4, $5)")
        .bind(booking.id)
        .bind(booking.service_id)
        .bind(booking.customer_name)
        .bind(booking.date)
        .bind(booking.time);
    let inserted = insert.execute(&mut *transaction).await;
    inserted.expect("a booking");
    transaction
}
