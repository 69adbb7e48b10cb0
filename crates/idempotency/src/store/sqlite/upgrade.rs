//! Turning the tables of version 1, which have an index of the ids, into those of this version.
//!
//! It is done when the file is opened, in several transactions, each of which leaves what the next start goes on from.
//! No record is in use before the last one. Each statement that concerns many rows is a transaction of its own, because
//! within a larger one SQLite would keep what it changes in memory, to be able to undo that statement alone.

use rusqlite::{Connection, Error, OptionalExtension, TransactionBehavior};

use super::schema::{CREATE_RECORDS, VERSION};

const EXISTS: &str =
    "select exists (select 1 from sqlite_schema where type = 'table' and name = ?1)";

const FIND_VERSION: &str = "select version from idempotency_schema";

/// In this transaction the file gets the new version, so that an earlier program refuses it from then on.
const SET_ASIDE: &str = "
    drop index if exists idempotency_records_by_expiry;
    alter table idempotency_records rename to idempotency_records_1;
    update idempotency_schema set version = 2;
";

/// The next rows, behind those that were taken over. A malformed id is of no record.
const TAKE_OVER: &str = "
    insert into idempotency_records
        (place, id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
         created_at, completed_at, route, label)
    select rowid, id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
        created_at, completed_at, route, label
    from idempotency_records_1
    where length(id) = 32
        and rowid > coalesce((select max(place) from idempotency_records), -9223372036854775808)
    order by rowid
    limit 20000
";

/// In the order of the ids, which version 1 has an index of.
const PLACE: &str = "
    insert or ignore into idempotency_places (start, place)
    select substr(id, 1, 8), rowid from idempotency_records_1 where length(id) = 32 order by id
";

const IS_PLACED: &str = "select exists (select 1 from idempotency_places where start = x'')";

const SET_PLACED: &str = "
    insert into idempotency_places (start, place)
    select x'', place from idempotency_records order by place desc limit 1
";

const DROP: &str = "drop table idempotency_records_1";

/// Files of the first releases lack these columns.
const LATER_COLUMNS: [(&str, &str); 6] = [
    ("spent", "blob"),
    ("scope", "integer"),
    ("created_at", "integer"),
    ("completed_at", "integer"),
    ("route", "text"),
    ("label", "text"),
];

const HAS_COLUMN: &str = "
    select exists (
        select 1 from sqlite_schema where name = 'idempotency_records' and instr(sql, ?1) > 0
    )
";

const ADD_COLUMN: &str = "alter table idempotency_records add column";

/// Upgrades the file, or goes on with an upgrade that was interrupted. The connection has no transaction.
pub(super) fn upgrade(connection: &mut Connection) -> Result<(), Error> {
    if !has_table(connection, "idempotency_schema")? {
        return Ok(());
    }
    let version: Option<i64> = connection
        .query_row(FIND_VERSION, (), |row| row.get(0))
        .optional()?;
    if version.is_some_and(|version| version < VERSION) {
        // Otherwise renaming would check all views and triggers of the application, and rewrite those that name the table.
        connection.execute_batch("pragma legacy_alter_table = on")?;
        let done = set_aside(connection);
        connection.execute_batch("pragma legacy_alter_table = off")?;
        done?;
    }
    if version.is_none_or(|version| version > VERSION)
        || !has_table(connection, "idempotency_records_1")?
    {
        return Ok(());
    }
    tracing::info!("the tables of an earlier version in a SQLite file are upgraded");
    while connection.execute(TAKE_OVER, ())? > 0 {}
    if !connection.query_row(IS_PLACED, (), |row| row.get(0))? {
        connection.execute(PLACE, ())?;
        connection.execute(SET_PLACED, ())?;
    }
    connection.execute(DROP, ())?;
    Ok(())
}

fn set_aside(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (column, kind) in LATER_COLUMNS {
        if !transaction.query_row(HAS_COLUMN, [column], |row| row.get(0))? {
            transaction.execute_batch(&format!("{ADD_COLUMN} {column} {kind}"))?;
        }
    }
    transaction.execute_batch(SET_ASIDE)?;
    transaction.execute_batch(CREATE_RECORDS)?;
    transaction.commit()
}

fn has_table(connection: &Connection, name: &str) -> Result<bool, Error> {
    connection.query_row(EXISTS, [name], |row| row.get(0))
}
