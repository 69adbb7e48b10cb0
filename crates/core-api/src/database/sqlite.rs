//! Bookings in an SQLite file, written by the thread that writes the keys in that file.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use axum::response::Response;
use chrono::{DateTime, Utc};
use idempotency::{CommitError, Execution, SqliteDatabase, SqliteStore, SqliteStoreError, Store};
use rusqlite::{Connection, OptionalExtension, Row, named_params, types::Type};
use uuid::Uuid;

use super::{
    Bookings, DatabaseError,
    open::{Database, KeyDatabase, Keys},
};
use crate::{
    booking::{Booking, Change, Status},
    secret::{self, Secret, SecretError},
};

/// The file that an option names.
pub(super) struct SqliteFile(pub(super) PathBuf);

/// The keys in a file.
struct SqliteKeys {
    store: SqliteStore,
    path: PathBuf,
}

/// The table `bookings` in a file.
#[derive(Debug)]
struct SqliteBookings(SqliteDatabase);

/// The version that [`CREATE`] makes, and the only one that is read.
const SCHEMA_VERSION: i64 = 1;

/// Leaves the table as it was, but writes its page: only that shows that the disk is full.
const WRITE_NOTHING: &str = "
insert into bookings_schema select version from bookings_schema limit 1;
delete from bookings_schema where rowid <> (select min(rowid) from bookings_schema);
";

/// Ids are stored as text, so that `sqlite3` shows them as responses do. Those of version 7 begin with the
/// time, so that the primary key's order is that of creation.
const CREATE: &str = "
create table if not exists bookings_schema (version integer not null) strict;
insert into bookings_schema select 1 where not exists (select * from bookings_schema);
create table if not exists bookings (
    id text primary key,
    service_id text not null,
    customer_name text not null,
    date text not null,
    time text not null,
    status text not null,
    created_at_ms integer not null
) strict, without rowid;
";

const IN_USE: &str = "the file is already open, in another process or for another option of this one; \
    stop the other process, or name another file";

const VERSION: &str = "select version from bookings_schema";

const WRITE: &str = "
insert into bookings (id, service_id, customer_name, date, time, status, created_at_ms)
values (:id, :service_id, :customer_name, :date, :time, :status, :created_at_ms)
on conflict (id) do update set
    service_id = excluded.service_id,
    customer_name = excluded.customer_name,
    date = excluded.date,
    time = excluded.time,
    status = excluded.status
";

const GET: &str = "
select id, service_id, customer_name, date, time, status, created_at_ms
from bookings where id = :id
";

const LIST: &str = "
select id, service_id, customer_name, date, time, status, created_at_ms
from bookings where id < :after order by id desc limit :limit
";

const REMOVE: &str = "delete from bookings where id = :id";

#[async_trait]
impl KeyDatabase for SqliteFile {
    async fn open_keys(&self) -> Result<Box<dyn Keys>, DatabaseError> {
        let store = SqliteStore::open(&self.0)?;
        let path = self.0.clone();
        Ok(Box::new(SqliteKeys { store, path }))
    }
}

#[async_trait]
impl Database for SqliteFile {
    async fn open(&self) -> Result<(Arc<dyn Bookings>, Box<dyn Keys>), DatabaseError> {
        let file = SqliteDatabase::open(&self.0)?;
        let bookings = SqliteBookings::new(file.clone()).await?;
        let store = SqliteStore::new(file)?;
        let path = self.0.clone();
        Ok((Arc::new(bookings), Box::new(SqliteKeys { store, path })))
    }
}

#[async_trait]
impl Keys for SqliteKeys {
    fn into_store(self: Box<Self>) -> Arc<dyn Store> {
        Arc::new(self.store)
    }

    async fn secret(&self, named: Option<&Path>) -> Result<Option<Secret>, SecretError> {
        secret::sqlite::of_database(&self.store, &self.path, named).await
    }
}

impl SqliteBookings {
    /// Makes the table if the file has none.
    async fn new(database: SqliteDatabase) -> Result<Self, DatabaseError> {
        let found = database
            .write(|connection| {
                connection.execute_batch(CREATE)?;
                connection.query_row(VERSION, [], |row| row.get(0))
            })
            .await?;
        match found {
            SCHEMA_VERSION => Ok(Self(database)),
            _ => Err(DatabaseError::schema(found, SCHEMA_VERSION)),
        }
    }
}

#[async_trait]
impl Bookings for SqliteBookings {
    async fn insert(
        &self,
        booking: Booking,
        execution: &Execution,
        response: Response,
    ) -> Result<Response, DatabaseError> {
        let insert = move |connection: &Connection| write(connection, &booking);
        let insert = self.0.transaction(insert);
        Ok(execution.commit(insert, response).await?)
    }

    async fn get(&self, id: Uuid) -> Result<Option<Booking>, DatabaseError> {
        Ok(self.0.read(move |connection| get(connection, id)).await?)
    }

    async fn list(&self, after: Option<Uuid>, limit: u16) -> Result<Vec<Booking>, DatabaseError> {
        let after = after.unwrap_or(Uuid::max()).to_string();
        let list = move |connection: &Connection| {
            connection
                .prepare_cached(LIST)?
                .query_map(named_params! {":after": after, ":limit": limit}, booking)?
                .collect()
        };
        Ok(self.0.read(list).await?)
    }

    async fn change(
        &self,
        id: Uuid,
        change: Change,
        execution: &Execution,
        respond: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let change = move |connection: &Connection| {
            let mut booking = get(connection, id)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
            booking.apply(change);
            write(connection, &booking)?;
            Ok(booking)
        };
        let change = self.0.transaction(change);
        let respond_with = move |booking| respond(Some(booking));
        match execution.commit_then(change, respond_with).await {
            Err(error) if finds_none(&error) => Ok(respond(None)),
            changed => Ok(changed?),
        }
    }

    async fn remove(
        &self,
        id: Uuid,
        execution: &Execution,
        respond: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        let remove = move |connection: &Connection| {
            let removed = connection
                .prepare_cached(REMOVE)?
                .execute(named_params! {":id": id.to_string()})?;
            (removed > 0)
                .then_some(())
                .ok_or(rusqlite::Error::QueryReturnedNoRows)
        };
        let remove = self.0.transaction(remove);
        match execution.commit_then(remove, move |()| respond(true)).await {
            Err(error) if finds_none(&error) => Ok(respond(false)),
            removed => Ok(removed?),
        }
    }

    async fn ping(&self) -> Result<(), DatabaseError> {
        let version =
            |connection: &Connection| connection.query_row(VERSION, [], |row| row.get::<_, i64>(0));
        self.0.read(version).await?;
        Ok(())
    }

    async fn try_to_write(&self) -> Result<(), DatabaseError> {
        let write = self
            .0
            .write(|connection| connection.execute_batch(WRITE_NOTHING));
        Ok(write.await?)
    }
}

fn write(connection: &Connection, booking: &Booking) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(WRITE)?.execute(named_params! {
        ":id": booking.id.to_string(),
        ":service_id": booking.service_id,
        ":customer_name": booking.customer_name,
        ":date": booking.date,
        ":time": booking.time,
        ":status": booking.status.name(),
        ":created_at_ms": booking.created_at.timestamp_millis(),
    })?;
    Ok(())
}

fn get(connection: &Connection, id: Uuid) -> Result<Option<Booking>, rusqlite::Error> {
    connection
        .prepare_cached(GET)?
        .query_row(named_params! {":id": id.to_string()}, booking)
        .optional()
}

/// Whether the transaction failed because there is no such booking.
fn finds_none(error: &CommitError) -> bool {
    let CommitError::Failed(source) = error else {
        return false;
    };
    matches!(
        source.downcast_ref(),
        Some(SqliteStoreError::Work(cause)) if matches!(cause.as_ref(), rusqlite::Error::QueryReturnedNoRows)
    )
}

fn booking(row: &Row<'_>) -> Result<Booking, rusqlite::Error> {
    Ok(Booking {
        id: parsed(row, 0, |text| text.parse().ok())?,
        service_id: row.get(1)?,
        customer_name: row.get(2)?,
        date: row.get(3)?,
        time: row.get(4)?,
        status: parsed(row, 5, Status::from_name)?,
        created_at: row
            .get(6)
            .map(DateTime::<Utc>::from_timestamp_millis)?
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(6, row.get(6)?))?,
    })
}

/// Parses a column of text. Text that cannot be parsed is an error, and is never left out.
fn parsed<T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, rusqlite::Error> {
    parse(row.get_ref(column)?.as_str()?).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Text,
            "not written by this service".into(),
        )
    })
}

impl From<SqliteStoreError> for DatabaseError {
    fn from(error: SqliteStoreError) -> Self {
        match error {
            SqliteStoreError::InUse { .. } => Self::Client(IN_USE.into()),
            error => Self::Client(Box::new(error)),
        }
    }
}
