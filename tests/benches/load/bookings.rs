//! Where bookings are stored: in the database that also has the keys.

mod alone;
mod firestore;
mod postgres;
mod redis;
mod sqlite;

use std::{collections::BTreeMap, error::Error, sync::Arc};

use axum::response::{IntoResponse, Response};
use idempotency::{CommitError, Execution, SqliteDatabase};
use parking_lot::Mutex;
use sqlx::PgPool;
use uuid::Uuid;

use crate::service::Booking;

pub(crate) use alone::Alone;
pub(crate) use firestore::Documents;

#[derive(Clone)]
pub(crate) enum Bookings {
    Memory(Arc<Mutex<BTreeMap<Uuid, Booking>>>),
    Sqlite(SqliteDatabase),
    Alone(Alone),
    Postgres(PgPool),
    Redis(::redis::aio::MultiplexedConnection),
    Firestore(Documents),
}

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

impl Bookings {
    pub(crate) async fn insert(&self, booking: Booking) -> Result<(), Failure> {
        match self {
            Self::Memory(bookings) => drop(bookings.lock().insert(booking.id, booking)),
            Self::Sqlite(database) => {
                let insert = move |connection: &_| sqlite::insert(connection, &booking);
                database.write(insert).await?;
            }
            Self::Alone(alone) => alone.insert(booking).await?,
            Self::Postgres(pool) => postgres::begin(pool, booking).await?.commit().await?,
            Self::Redis(connection) => redis::insert(connection.clone(), booking).await?,
            Self::Firestore(documents) => documents.insert(booking).await?,
        }
        Ok(())
    }

    /// Inserts the booking, together with the run's key.
    pub(crate) async fn commit(
        &self,
        booking: Booking,
        execution: &Execution,
        reply: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        match self {
            Self::Sqlite(database) => {
                let insert = move |connection: &_| sqlite::insert(connection, &booking);
                execution.commit(database.transaction(insert), reply).await
            }
            Self::Postgres(pool) => {
                let begun = postgres::begin(pool, booking).await;
                let transaction = begun.map_err(|error| CommitError::Failed(error.into()))?;
                execution.commit(transaction, reply).await
            }
            _ => Err(CommitError::Failed("it has no such transactions".into())),
        }
    }
}
