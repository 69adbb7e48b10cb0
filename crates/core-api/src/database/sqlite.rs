//! Bookings in a SQLite file, written by the same thread as the keys in that file.

mod tables;

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use axum::response::Response;
use chrono::{DateTime, Utc};
use idempotency::{
    CommitError, Execution, SqliteDatabase, SqliteStore, Store, store::SqliteStoreError,
};
use rusqlite::{Connection, OptionalExtension, Row, named_params, types::Type};
use uuid::Uuid;

use super::{
    Bookings, DatabaseError,
    open::{Database, KeyDatabase, Keys},
};
use crate::{
    booking::{Booking, Change, Status, Whose},
    secret::{self, SecretError, SecretFiles, Secrets},
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

/// The version that [`CREATE`] and [`ADD_OWNER`] result in, and the only one that is supported.
const SCHEMA_VERSION: i64 = 2;

/// Leaves the table unchanged, but writes its page: only that shows whether the disk is full.
const WRITE_NOTHING: &str = "
insert into bookings_schema select version from bookings_schema limit 1;
delete from bookings_schema where rowid <> (select min(rowid) from bookings_schema);
";

/// Ids are stored as text, so that `sqlite3` shows them as responses do. Ids of version 7 begin with the
/// time, so the primary key sorts by creation.
const CREATE: &str = "
create table if not exists bookings_schema (version integer not null) strict;
insert into bookings_schema select 2 where not exists (select * from bookings_schema);
create table if not exists bookings (
    id text primary key,
    service_id text not null,
    customer_name text not null,
    date text not null,
    time text not null,
    status text not null,
    created_at_ms integer not null,
    owner text
) strict, without rowid;
";

/// From version 1. Its bookings belong to no subject.
const ADD_OWNER: &str = "
alter table bookings add column owner text;
update bookings_schema set version = 2;
";

/// For the bookings of one owner, newest first.
const CREATE_INDEX: &str = "
create index if not exists bookings_by_owner on bookings (owner, id) where owner is not null;
";

pub(super) const IN_USE: &str = "the file is already open, in another process or for another option of this one; \
    stop the other process, name another file, or ask the service that has it open for its keys, at /admin/keys or by --service";

const VERSION: &str = "select version from bookings_schema";

const WRITE: &str = "
insert into bookings (id, service_id, customer_name, date, time, status, created_at_ms, owner)
values (:id, :service_id, :customer_name, :date, :time, :status, :created_at_ms, :owner)
on conflict (id) do update set
    service_id = excluded.service_id,
    customer_name = excluded.customer_name,
    date = excluded.date,
    time = excluded.time,
    status = excluded.status
";

const GET: &str = "
select id, service_id, customer_name, date, time, status, created_at_ms, owner
from bookings where id = :id and (:owner is null or owner = :owner)
";

const LIST: &str = "
select id, service_id, customer_name, date, time, status, created_at_ms, owner
from bookings where id < :after order by id desc limit :limit
";

const LIST_OWN: &str = "
select id, service_id, customer_name, date, time, status, created_at_ms, owner
from bookings where owner = :owner and id < :after order by id desc limit :limit
";

const REMOVE: &str = "delete from bookings where id = :id and (:owner is null or owner = :owner)";

#[async_trait]
impl KeyDatabase for SqliteFile {
    async fn may_have_keys(&self) -> Result<bool, DatabaseError> {
        Ok(tables::may_have_keys(&self.0))
    }

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

    fn with_limit(self: Box<Self>, bytes: usize) -> Result<Box<dyn Keys>, DatabaseError> {
        let Self { store, path } = *self;
        let store = store.with_limit_bytes(bytes);
        Ok(Box::new(SqliteKeys { store, path }))
    }

    async fn secrets(&self, files: &SecretFiles, may_make: bool) -> Result<Secrets, SecretError> {
        secret::sqlite::of_database(&self.store, &self.path, files, may_make).await
    }
}

impl SqliteBookings {
    /// Creates the table if the file has none.
    async fn new(database: SqliteDatabase) -> Result<Self, DatabaseError> {
        let found = database
            .write(|connection| {
                connection.execute_batch(CREATE)?;
                let version = || connection.query_row(VERSION, [], |row| row.get(0));
                if version()? == 1 {
                    connection.execute_batch(ADD_OWNER)?;
                }
                let found = version()?;
                if found == SCHEMA_VERSION {
                    connection.execute_batch(CREATE_INDEX)?;
                }
                Ok(found)
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

    async fn get(&self, id: Uuid, whose: &Whose) -> Result<Option<Booking>, DatabaseError> {
        let whose = whose.clone();
        let get = move |connection: &Connection| get(connection, id, &whose);
        Ok(self.0.read(get).await?)
    }

    async fn list(
        &self,
        whose: &Whose,
        after: Option<Uuid>,
        limit: u16,
    ) -> Result<Vec<Booking>, DatabaseError> {
        let whose = whose.clone();
        let after = after.unwrap_or(Uuid::max()).to_string();
        let list = move |connection: &Connection| {
            let Some(owner) = whose.owner() else {
                let parameters = named_params! {":after": after, ":limit": limit};
                let mut list = connection.prepare_cached(LIST)?;
                return list.query_map(parameters, booking)?.collect();
            };
            let parameters = named_params! {":owner": owner, ":after": after, ":limit": limit};
            let mut list = connection.prepare_cached(LIST_OWN)?;
            list.query_map(parameters, booking)?.collect()
        };
        Ok(self.0.read(list).await?)
    }

    async fn change(
        &self,
        id: Uuid,
        whose: Whose,
        change: Change,
        execution: &Execution,
        respond: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let change = move |connection: &Connection| {
            let found = get(connection, id, &whose)?;
            let mut booking = found.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
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
        whose: Whose,
        execution: &Execution,
        respond: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        let remove = move |connection: &Connection| {
            let removed = connection
                .prepare_cached(REMOVE)?
                .execute(named_params! {":id": id.to_string(), ":owner": whose.owner()})?;
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
        ":owner": booking.owner.as_deref(),
    })?;
    Ok(())
}

fn get(
    connection: &Connection,
    id: Uuid,
    whose: &Whose,
) -> Result<Option<Booking>, rusqlite::Error> {
    let parameters = named_params! {":id": id.to_string(), ":owner": whose.owner()};
    connection
        .prepare_cached(GET)?
        .query_row(parameters, booking)
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
        owner: row.get::<_, Option<String>>(7)?.map(Into::into),
    })
}

/// Parses a column of text. Text that cannot be parsed is an error; the row is never skipped.
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
            SqliteStoreError::InUse { .. } => Self::InUse,
            error => Self::Client(Box::new(error)),
        }
    }
}
