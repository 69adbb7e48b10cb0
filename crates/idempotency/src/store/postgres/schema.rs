//! The store's tables, and the version of them that a database has.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row, raw_sql};
use tokio::time::sleep;

use super::{PostgresStoreError, error::Failure};

/// The statements that create the tables if they do not exist.
pub(super) const CREATE: &str = include_str!("schema.sql");

/// The version that this code reads and writes. A change of the tables increases it, and adds a migration from each
/// older one.
pub(super) const VERSION: i32 = 1;

/// Each process that creates the tables takes this lock first, because two concurrent attempts would collide. The number has
/// no meaning. The lock ends with the transaction, so it cannot remain in a pooler's session.
const LOCK: &str = "select pg_advisory_xact_lock(7310865423419862901)";

/// A client that has waited longer has gone, and its server process ends too.
const BEGIN: &str = "begin; set local lock_timeout = '9s'";

/// A standby can be read, so nothing else would fail there at the start.
const FIND_ROLE: &str =
    "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";

const IS_THERE: &str = "select to_regclass('idempotency_schema') is not null";

/// Whether an earlier release created the table, with fewer columns.
pub(super) const LACKS_COLUMNS: &str = "
    select count(*) < 5
    from pg_attribute
    where attrelid = to_regclass('idempotency_records') and not attisdropped
        and attname in ('spent', 'created_at', 'completed_at', 'route', 'label')
";

/// The same for the mark.
pub(super) const LACKS_MARK: &str = "
    select not exists (
        select from pg_attribute
        where attrelid = to_regclass('idempotency_schema') and attname = 'mark' and not attisdropped
    )
";

/// How long to wait before trying again to add columns. With the tries, this fits into the time of a start.
const PAUSES: [Duration; 3] = [Duration::from_secs(1); 3];

/// While this waits for open transactions, claims wait for it.
const BRIEFLY: &str = "set local lock_timeout = '1s'";

const ADD_COLUMNS: &str = "
    alter table idempotency_records
        add column if not exists spent bytea,
        add column if not exists created_at timestamptz,
        add column if not exists completed_at timestamptz,
        add column if not exists route text,
        add column if not exists label text
";

/// The server generates it at random, as the default of the existing row.
const ADD_MARK: &str = "
    alter table idempotency_schema
    add column if not exists mark text not null default concat_ws('-', random(), random(), random())
";

pub(super) const FIND_VERSION: &str = "select max(version) from idempotency_schema";

/// Creates the tables if they do not exist. If they exist, the role needs no right to create tables.
pub(super) async fn set_up(connection: &mut PgConnection) -> Result<(), PostgresStoreError> {
    refuse_read_only(connection).await?;
    let mut pauses = PAUSES.into_iter();
    let found = loop {
        match (find_or_create(connection).await, pauses.next()) {
            (Ok(found), _) => break found,
            // A reader of the table may take long. Between two tries the claims that wait for this one get their turn.
            (Err(error), Some(pause)) if matches!(Failure::of(&error), Failure::Locked) => {
                sleep(pause).await;
            }
            (Err(error), _) => return Err(PostgresStoreError::Schema(error)),
        }
    };
    match found {
        Some(found) if found > VERSION => Err(PostgresStoreError::NewerSchema {
            found,
            known: VERSION,
        }),
        _ => Ok(()),
    }
}

async fn refuse_read_only(connection: &mut PgConnection) -> Result<(), PostgresStoreError> {
    let role = raw_sql(FIND_ROLE).fetch_one(connection).await;
    let role = role.map_err(PostgresStoreError::Connect)?;
    let is = |column: usize| role.try_get(column).map_err(PostgresStoreError::Connect);
    let (is_standby, is_read_only) = (is(0)?, is(1)?);
    if is_read_only {
        Err(PostgresStoreError::ReadOnly { is_standby })
    } else {
        Ok(())
    }
}

async fn find_or_create(connection: &mut PgConnection) -> Result<Option<i32>, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    raw_sql(LOCK).execute(&mut *transaction).await?;
    let is_there = raw_sql(IS_THERE).fetch_one(&mut *transaction).await?;
    let found = if is_there.try_get(0)? {
        raw_sql(FIND_VERSION)
            .fetch_one(&mut *transaction)
            .await?
            .try_get(0)?
    } else {
        None
    };
    match found {
        None => {
            raw_sql(CREATE).execute(&mut *transaction).await?;
        }
        Some(found) if found <= VERSION => {
            for (lacks, add) in [(LACKS_COLUMNS, ADD_COLUMNS), (LACKS_MARK, ADD_MARK)] {
                let lacks = raw_sql(lacks).fetch_one(&mut *transaction).await?;
                if lacks.try_get(0)? {
                    raw_sql(BRIEFLY).execute(&mut *transaction).await?;
                    raw_sql(add).execute(&mut *transaction).await?;
                }
            }
        }
        Some(_) => {}
    }
    transaction.commit().await?;
    Ok(found)
}
