//! Bookings in PostgreSQL, by the connections that the keys there use too.

use std::time::Duration;

use async_trait::async_trait;
use axum::response::Response;
use idempotency::{Execution, PostgresStore, PostgresStoreError};
use sqlx::{
    Connection, Error, PgConnection, PgPool, Postgres, Row, Transaction,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
    query,
    query::Query,
    raw_sql,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Bookings, DatabaseError};
use crate::{
    ServerUrl,
    bookings::{Booking, Change, Status},
};

/// The table `bookings` in a database.
#[derive(Debug)]
pub(crate) struct PostgresBookings {
    pool: PgPool,
    /// Whether statements cannot stay prepared.
    pooled: bool,
}

/// The version that [`CREATE`] makes, and the only one that is read.
const SCHEMA_VERSION: i32 = 1;

/// Services that start together would otherwise fail on each other's tables.
const LOCK: &str = "select pg_advisory_xact_lock(6077316842092518537)";

const IS_THERE: &str = "select to_regclass('bookings_schema') is not null";

/// Ids of version 7 begin with the time, so that the primary key's order is that of creation.
const CREATE: &str = "
create table bookings_schema (version integer primary key);
insert into bookings_schema values (1);
create table bookings (
    id uuid primary key,
    service_id text not null,
    customer_name text not null,
    date date not null,
    time time not null,
    status text not null,
    created_at timestamptz not null
);
";

const VERSION: &str = "select version from bookings_schema";

/// Changes nothing, and yet fails where no booking can be written.
const PING: &str = "
with writable as (update bookings set status = status where false)
select version from bookings_schema
";

const INSERT: &str = "
insert into bookings (id, service_id, customer_name, date, time, status, created_at)
values ($1, $2, $3, $4, $5, $6, $7)
";

const GET: &str = "
select id, service_id, customer_name, date, time, status, created_at
from bookings where id = $1
";

const LIST: &str = "
select id, service_id, customer_name, date, time, status, created_at
from bookings where id < $1 order by id desc limit $2
";

const CHANGE: &str = "
update bookings set
    service_id = coalesce($2, service_id),
    customer_name = coalesce($3, customer_name),
    date = coalesce($4, date),
    time = coalesce($5, time),
    status = coalesce($6, status)
where id = $1
returning id, service_id, customer_name, date, time, status, created_at
";

const REMOVE: &str = "delete from bookings where id = $1 returning id";

/// As many requests write at one time; a few services still fit into the server's usual 100 connections.
const MOST_CONNECTIONS: u32 = 20;

/// The server gives up waiting for a lock before [`PATIENCE`] ends. Otherwise a transaction that hangs would keep the
/// connection of everybody who waits for its rows.
const BEGIN: &str = "begin; set local lock_timeout = '3s'";

/// The same for reads, which have no transaction.
const SET_LOCK_TIMEOUT: &str = "set lock_timeout = '3s'";

/// How long a statement may take before its request is answered 503.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a statement is sent whose connection is lost.
const TRIES: usize = 3;

type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Connections to a server that has answered once.
pub(super) async fn pool(url: &ServerUrl) -> Result<PgPool, DatabaseError> {
    let options: PgConnectOptions = url.expose().parse().map_err(PostgresStoreError::Url)?;
    // PgBouncer refuses this setting unless it is told otherwise.
    let options = options.extra_float_digits(None);
    // Not by the pool, which would go on trying, and then say nothing of the reason.
    let connected = timeout(PATIENCE, PgConnection::connect_with(&options))
        .await
        .map_err(|_| PostgresStoreError::TimedOut)?
        .map_err(PostgresStoreError::Connect)?;
    connected.close().await?;
    let probe = PgPoolOptions::new().connect_lazy_with(options.clone());
    let is_pooled = PostgresStore::new(probe.clone()).is_pooled().await?;
    probe.close().await;
    let pool = PgPoolOptions::new().max_connections(MOST_CONNECTIONS);
    let pool = match is_pooled {
        // It would be a setting of whoever has the server's process next; here each statement has a transaction.
        true => pool,
        false => pool.after_connect(|connection, _| {
            Box::pin(async move {
                raw_sql(SET_LOCK_TIMEOUT).execute(connection).await?;
                Ok(())
            })
        }),
    };
    Ok(pool.connect_lazy_with(options))
}

impl PostgresBookings {
    /// Makes the table if the database has none.
    pub(super) async fn new(keys: &PostgresStore) -> Result<Self, DatabaseError> {
        let pool = keys.pool().clone();
        let mut transaction = pool.begin_with(BEGIN).await?;
        raw_sql(LOCK).execute(&mut *transaction).await?;
        let is_there = raw_sql(IS_THERE).fetch_one(&mut *transaction).await?;
        if !is_there.try_get::<bool, _>(0)? {
            raw_sql(CREATE).execute(&mut *transaction).await?;
        }
        let version = raw_sql(VERSION).fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        match version.try_get(0)? {
            SCHEMA_VERSION => Ok(Self {
                pooled: keys.is_pooled().await?,
                pool,
            }),
            found => Err(DatabaseError::Schema {
                found: i64::from(found),
                known: i64::from(SCHEMA_VERSION),
            }),
        }
    }

    /// Begins a transaction with this statement, for the run to commit.
    async fn begin_with(
        &self,
        statement: Statement<'_>,
    ) -> Result<(Transaction<'static, Postgres>, Vec<PgRow>), DatabaseError> {
        let begun = async {
            let mut transaction = self.pool.begin_with(BEGIN).await?;
            let statement = statement.persistent(!self.pooled);
            let rows = statement.fetch_all(&mut *transaction).await?;
            Ok((transaction, rows))
        };
        let begun = timeout(PATIENCE, begun).await;
        begun.map_err(|_| DatabaseError::Silent)?
    }

    /// Sends a statement that may be done twice; if its connection is lost, on another one.
    async fn run<'q>(
        &self,
        statement: impl Fn() -> Statement<'q>,
    ) -> Result<Vec<PgRow>, DatabaseError> {
        for _ in 1..TRIES {
            match self.run_once(statement()).await {
                Err(DatabaseError::Postgres(error)) if is_lost(&error) => {}
                ended => return ended,
            }
        }
        self.run_once(statement()).await
    }

    async fn run_once(&self, statement: Statement<'_>) -> Result<Vec<PgRow>, DatabaseError> {
        let rows = async {
            if !self.pooled {
                return statement.fetch_all(&self.pool).await;
            }
            // The transaction keeps the server's process, in which the statement is prepared, until it is executed.
            let mut transaction = self.pool.begin_with(BEGIN).await?;
            let statement = statement.persistent(false);
            let rows = statement.fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(rows)
        };
        let rows = timeout(PATIENCE, rows).await;
        Ok(rows.map_err(|_| DatabaseError::Silent)??)
    }
}

#[async_trait]
impl Bookings for PostgresBookings {
    async fn insert(
        &self,
        booking: Booking,
        execution: &Execution,
        answer: Response,
    ) -> Result<Response, DatabaseError> {
        let insert = query(INSERT)
            .bind(booking.id)
            .bind(booking.service_id.as_str())
            .bind(booking.customer_name.as_str())
            .bind(booking.date)
            .bind(booking.time)
            .bind(booking.status.name())
            .bind(booking.created_at);
        let (transaction, _) = self.begin_with(insert).await?;
        Ok(execution.commit(transaction, answer).await?)
    }

    async fn get(&self, id: Uuid) -> Result<Option<Booking>, DatabaseError> {
        let found = self.run(|| query(GET).bind(id)).await?;
        Ok(found.first().map(booking).transpose()?)
    }

    async fn list(&self, after: Option<Uuid>, limit: u16) -> Result<Vec<Booking>, DatabaseError> {
        let after = after.unwrap_or(Uuid::max());
        let list = || query(LIST).bind(after).bind(i64::from(limit));
        let listed: Result<_, _> = self.run(list).await?.iter().map(booking).collect();
        Ok(listed?)
    }

    async fn change(
        &self,
        id: Uuid,
        change: Change,
        execution: &Execution,
        answer: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let update = query(CHANGE)
            .bind(id)
            .bind(change.service_id.as_deref())
            .bind(change.customer_name.as_deref())
            .bind(change.date)
            .bind(change.time)
            .bind(change.status.map(Status::name));
        let (transaction, rows) = self.begin_with(update).await?;
        let Some(changed) = rows.first().map(booking).transpose()? else {
            return Ok(answer(None));
        };
        Ok(execution.commit(transaction, answer(Some(changed))).await?)
    }

    async fn remove(
        &self,
        id: Uuid,
        execution: &Execution,
        answer: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        let (transaction, rows) = self.begin_with(query(REMOVE).bind(id)).await?;
        if rows.is_empty() {
            return Ok(answer(false));
        }
        Ok(execution.commit(transaction, answer(true)).await?)
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
