//! Bookings in PostgreSQL, over the same connections as the keys there.

mod pool;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::response::Response;
use idempotency::{Execution, PostgresStore, Store, store::PostgresStoreError};
use sqlx::{
    Error, PgPool, Postgres, Row, Transaction,
    postgres::{PgArguments, PgRow},
    query,
    query::Query,
    raw_sql,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Bookings, DatabaseError,
    open::{Database, KeyDatabase, Keys},
};
use crate::{
    booking::{Booking, Change, Status, Whose},
    config::ServerUrl,
};

/// The server that an option names.
pub(super) struct PostgresServer(pub(super) ServerUrl);

/// The table `bookings` in a database.
#[derive(Debug)]
struct PostgresBookings {
    pool: PgPool,
    /// Whether a pooler shares the server's sessions, so that no statement can stay prepared.
    is_pooled: bool,
}

/// The version that [`CREATE`] and [`ADD_OWNER`] result in, and the only one that is supported.
const SCHEMA_VERSION: i32 = 2;

/// Services that start concurrently would otherwise fail on each other's tables.
const LOCK: &str = "select pg_advisory_xact_lock(6077316842092518537)";

const IS_THERE: &str = "select to_regclass('bookings_schema') is not null";

/// Ids of version 7 begin with the time, so the primary key sorts by creation.
const CREATE: &str = "
create table bookings_schema (version integer primary key);
insert into bookings_schema values (2);
create table bookings (
    id uuid primary key,
    service_id text not null,
    customer_name text not null,
    date date not null,
    time time not null,
    status text not null,
    created_at timestamptz not null,
    owner text
);
create index bookings_by_owner on bookings (owner, id) where owner is not null;
";

/// From version 1. Its bookings belong to no subject.
const ADD_OWNER: &str = "
alter table bookings add column owner text;
create index bookings_by_owner on bookings (owner, id) where owner is not null;
update bookings_schema set version = 2;
";

const VERSION: &str = "select version from bookings_schema";

/// Changes nothing, but fails if no booking can be written.
const PING: &str = "
with writable as (update bookings set status = status where false)
select version from bookings_schema
";

const INSERT: &str = "
insert into bookings (id, service_id, customer_name, date, time, status, created_at, owner)
values ($1, $2, $3, $4, $5, $6, $7, $8)
";

const GET: &str = "
select id, service_id, customer_name, date, time, status, created_at, owner
from bookings where id = $1 and ($2::text is null or owner = $2)
";

const LIST: &str = "
select id, service_id, customer_name, date, time, status, created_at, owner
from bookings where id < $1 order by id desc limit $2
";

const LIST_OWN: &str = "
select id, service_id, customer_name, date, time, status, created_at, owner
from bookings where owner = $3 and id < $1 order by id desc limit $2
";

const CHANGE: &str = "
update bookings set
    service_id = coalesce($2, service_id),
    customer_name = coalesce($3, customer_name),
    date = coalesce($4, date),
    time = coalesce($5, time),
    status = coalesce($6, status)
where id = $1 and ($7::text is null or owner = $7)
returning id, service_id, customer_name, date, time, status, created_at, owner
";

const REMOVE: &str =
    "delete from bookings where id = $1 and ($2::text is null or owner = $2) returning id";

/// How many requests access the database concurrently. A few services still fit into the server's usual 100 connections.
const MAX_CONNECTIONS: u32 = 20;

/// The server gives up waiting for a lock before [`STATEMENT_TIMEOUT`] expires. Otherwise a transaction that hangs would occupy
/// the connections of all requests that wait for its rows.
const BEGIN: &str = "begin; set local lock_timeout = '3s'";

const HAS_KEYS: &str = "select to_regclass('idempotency_records') is not null";

/// How long a statement may take before the response to its request is 503.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a statement is sent if its connection is lost.
const MAX_TRIES: usize = 3;

type Statement<'q> = Query<'q, Postgres, PgArguments>;

#[async_trait]
impl KeyDatabase for PostgresServer {
    fn check(&self) -> Result<(), DatabaseError> {
        pool::check(&self.0)
    }

    async fn may_have_keys(&self) -> Result<bool, DatabaseError> {
        let pool = pool::connect(&self.0).await?;
        let found = timeout(STATEMENT_TIMEOUT, raw_sql(HAS_KEYS).fetch_one(&pool)).await??;
        pool.close().await;
        Ok(found.try_get(0)?)
    }

    async fn open_keys(&self) -> Result<Box<dyn Keys>, DatabaseError> {
        Ok(Box::new(PostgresStore::connect(self.0.expose()).await?))
    }
}

#[async_trait]
impl Database for PostgresServer {
    async fn open(&self) -> Result<(Arc<dyn Bookings>, Box<dyn Keys>), DatabaseError> {
        let keys = PostgresStore::new(pool::connect(&self.0).await?);
        // This comes first, because its error says if the server is read-only.
        keys.create_schema().await?;
        let bookings = PostgresBookings::new(&keys).await?;
        Ok((Arc::new(bookings), Box::new(keys)))
    }
}

impl Keys for PostgresStore {
    fn into_store(self: Box<Self>) -> Arc<dyn Store> {
        Arc::new(*self)
    }
}

impl PostgresBookings {
    /// Creates the table if the database has none.
    async fn new(keys: &PostgresStore) -> Result<Self, DatabaseError> {
        let pool = keys.pool().clone();
        let mut transaction = pool.begin_with(BEGIN).await?;
        raw_sql(LOCK).execute(&mut *transaction).await?;
        let is_there = raw_sql(IS_THERE).fetch_one(&mut *transaction).await?;
        if !is_there.try_get::<bool, _>(0)? {
            raw_sql(CREATE).execute(&mut *transaction).await?;
        }
        let mut version = raw_sql(VERSION).fetch_one(&mut *transaction).await?;
        if version.try_get::<i32, _>(0)? == 1 {
            raw_sql(ADD_OWNER).execute(&mut *transaction).await?;
            version = raw_sql(VERSION).fetch_one(&mut *transaction).await?;
        }
        transaction.commit().await?;
        match version.try_get(0)? {
            SCHEMA_VERSION => Ok(Self {
                is_pooled: keys.is_pooled().await?,
                pool,
            }),
            found => Err(DatabaseError::schema(found.into(), SCHEMA_VERSION.into())),
        }
    }

    /// Begins a transaction with this statement, for the run to commit.
    async fn begin_with(
        &self,
        statement: Statement<'_>,
    ) -> Result<(Transaction<'static, Postgres>, Vec<PgRow>), DatabaseError> {
        let begun = async {
            let mut transaction = self.pool.begin_with(BEGIN).await?;
            let statement = statement.persistent(!self.is_pooled);
            let rows = statement.fetch_all(&mut *transaction).await?;
            Ok((transaction, rows))
        };
        timeout(STATEMENT_TIMEOUT, begun).await?
    }

    /// Sends a statement that may safely take effect twice. If its connection is lost, sends it again over another one.
    async fn run<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, DatabaseError> {
        for _ in 1..MAX_TRIES {
            match timeout(STATEMENT_TIMEOUT, self.run_once(statement())).await? {
                Err(error) if is_lost(&error) => {}
                ended => return Ok(ended?),
            }
        }
        Ok(timeout(STATEMENT_TIMEOUT, self.run_once(statement())).await??)
    }

    async fn run_once(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, Error> {
        if !self.is_pooled {
            return statement.fetch_all(&self.pool).await;
        }
        // The transaction keeps the session in which the statement is prepared until it is executed.
        let mut transaction = self.pool.begin_with(BEGIN).await?;
        let statement = statement.persistent(false);
        let rows = statement.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}

#[async_trait]
impl Bookings for PostgresBookings {
    async fn insert(
        &self,
        booking: Booking,
        execution: &Execution,
        response: Response,
    ) -> Result<Response, DatabaseError> {
        let insert = query(INSERT)
            .bind(booking.id)
            .bind(booking.service_id.as_str())
            .bind(booking.customer_name.as_str())
            .bind(booking.date)
            .bind(booking.time)
            .bind(booking.status.name())
            .bind(booking.created_at)
            .bind(booking.owner.as_deref());
        let (transaction, _) = self.begin_with(insert).await?;
        Ok(execution.commit(transaction, response).await?)
    }

    async fn get(&self, id: Uuid, whose: &Whose) -> Result<Option<Booking>, DatabaseError> {
        let found = self.run(|| query(GET).bind(id).bind(whose.owner())).await?;
        Ok(found.first().map(booking).transpose()?)
    }

    async fn list(
        &self,
        whose: &Whose,
        after: Option<Uuid>,
        limit: u16,
    ) -> Result<Vec<Booking>, DatabaseError> {
        let after = after.unwrap_or(Uuid::max());
        let list = || {
            let page = |list| query(list).bind(after).bind(i64::from(limit));
            match whose.owner() {
                None => page(LIST),
                Some(owner) => page(LIST_OWN).bind(owner),
            }
        };
        let listed: Result<_, _> = self.run(list).await?.iter().map(booking).collect();
        Ok(listed?)
    }

    async fn change(
        &self,
        id: Uuid,
        whose: Whose,
        change: Change,
        execution: &Execution,
        respond: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let update = query(CHANGE)
            .bind(id)
            .bind(change.service_id.as_deref())
            .bind(change.customer_name.as_deref())
            .bind(change.date)
            .bind(change.time)
            .bind(change.status.map(Status::name))
            .bind(whose.owner());
        let (transaction, rows) = self.begin_with(update).await?;
        let Some(changed) = rows.first().map(booking).transpose()? else {
            return Ok(respond(None));
        };
        Ok(execution
            .commit(transaction, respond(Some(changed)))
            .await?)
    }

    async fn remove(
        &self,
        id: Uuid,
        whose: Whose,
        execution: &Execution,
        respond: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        let remove = query(REMOVE).bind(id).bind(whose.owner());
        let (transaction, rows) = self.begin_with(remove).await?;
        if rows.is_empty() {
            return Ok(respond(false));
        }
        Ok(execution.commit(transaction, respond(true)).await?)
    }

    async fn ping(&self) -> Result<(), DatabaseError> {
        self.run(|| query(PING)).await?;
        Ok(())
    }
}

fn booking(row: &PgRow) -> Result<Booking, Error> {
    let status = Status::from_name(row.try_get(5)?);
    Ok(Booking {
        id: row.try_get(0)?,
        service_id: row.try_get(1)?,
        customer_name: row.try_get(2)?,
        date: row.try_get(3)?,
        time: row.try_get(4)?,
        status: status.ok_or_else(|| Error::Decode("not written by this service".into()))?,
        created_at: row.try_get(6)?,
        owner: row.try_get::<Option<String>, _>(7)?.map(Into::into),
    })
}

/// Whether the connection broke, or the server ended it.
fn is_lost(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::Protocol(_) => true,
        Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

impl From<Error> for DatabaseError {
    fn from(error: Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl From<PostgresStoreError> for DatabaseError {
    fn from(error: PostgresStoreError) -> Self {
        Self::Client(Box::new(error))
    }
}
