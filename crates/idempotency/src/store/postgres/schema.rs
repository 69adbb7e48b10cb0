//! The store's tables, and the version of them that a database has.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row, raw_sql};
use tokio::time::sleep;

use super::{PostgresStoreError, error::Failure};

/// The statements that make the tables where there are none.
pub(super) const CREATE: &str = include_str!("schema.sql");

/// The version that this code reads and writes. A change of the tables adds one, and a step from each older one.
const VERSION: i32 = 1;

/// Everybody who would make the tables takes this lock first: two at one time would fail on each other. The
/// number has no meaning. It ends with the transaction, so a pooler cannot leave it behind.
const LOCK: &str = "select pg_advisory_xact_lock(7310865423419862901)";

/// Whoever waits longer has gone, and its process on the server goes too.
const BEGIN: &str = "begin; set local lock_timeout = '9s'";

/// A standby can be read, so nothing else of the start fails there.
const FIND_ROLE: &str =
    "select pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";

const IS_THERE: &str = "select to_regclass('idempotency_schema') is not null";

/// Whether an earlier release has made the table, which had fewer columns.
const LACKS_COLUMNS: &str = "
    select count(*) < 5
    from pg_attribute
    where attrelid = to_regclass('idempotency_records') and not attisdropped
        and attname in ('spent', 'created_at', 'completed_at', 'route', 'label')
";

/// The same of the mark.
const LACKS_MARK: &str = "
    select not exists (
        select from pg_attribute
        where attrelid = to_regclass('idempotency_schema') and attname = 'mark' and not attisdropped
    )
";

/// How long to wait before trying again to add columns. With the tries that fits into the time of a start.
const PAUSES: [Duration; 3] = [Duration::from_secs(1); 3];

/// Claims wait behind this for as long as it waits for the transactions that are open.
const BRIEFLY: &str = "set local lock_timeout = '1s'";

const ADD_COLUMNS: &str = "
    alter table idempotency_records
        add column if not exists spent bytea,
        add column if not exists created_at timestamptz,
        add column if not exists completed_at timestamptz,
        add column if not exists route text,
        add column if not exists label text
";

/// The server draws it at random, as the default of the row that is there.
const ADD_MARK: &str = "
    alter table idempotency_schema
    add column if not exists mark text not null default concat_ws('-', random(), random(), random())
";

const FIND_VERSION: &str = "select max(version) from idempotency_schema";

/// Makes the tables where there are none. Where they are, no right to make any is needed.
pub(super) async fn set_up(connection: &mut PgConnection) -> Result<(), PostgresStoreError> {
    refuse_read_only(connection).await?;
    let mut pauses = PAUSES.into_iter();
    let found = loop {
        match (find_or_create(connection).await, pauses.next()) {
            (Ok(found), _) => break found,
            // Whoever reads the table may go on for long. Between two tries the claims that wait for this one get their turn.
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
