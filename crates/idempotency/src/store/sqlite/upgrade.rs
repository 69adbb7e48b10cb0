//! Turning the tables of version 1, which have an index of the ids, into those of this version.
//!
//! It is done when the file is opened, in several transactions, each of which leaves what the next start goes on from.
//! No record is in use before the last one. Each statement that concerns many rows is a transaction of its own, because
//! within a larger one SQLite would keep what it changes in memory, to be able to undo that statement alone.

mod refusal;

use std::error::Error;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::schema::{CREATE_RECORDS, CREATE_TRIGGERS, VERSION};

/// Whether an upgrade has begun and has not ended.
const IS_UNFINISHED: &str = "
    select exists (
        select 1 from sqlite_schema where type = 'table' and name = 'idempotency_records_1'
    )
";

const HAS_VERSION: &str = "
    select exists (select 1 from sqlite_schema where type = 'table' and name = 'idempotency_schema')
";

const FIND_VERSION: &str = "select version from idempotency_schema";

/// In this transaction the file gets the new version, so that an earlier program refuses it from then on.
const SET_ASIDE: &str = "
    drop index if exists idempotency_records_by_expiry;
    alter table idempotency_records rename to idempotency_records_1;
    update idempotency_schema set version = 2;
";

/// They come back when all is copied: if the table had them, SQLite would gather the rows of a whole statement in memory.
const DROP_TRIGGERS: &str = "
    drop trigger if exists idempotency_records_added;
    drop trigger if exists idempotency_records_removed;
    drop trigger if exists idempotency_records_moved;
";

const LAST: &str = "select coalesce(max(place), -9223372036854775808) from idempotency_records";

/// The next rows, behind this one. It does not read the table that it writes, for the same reason. A malformed id is of no record.
const TAKE_OVER: &str = "
    insert into idempotency_records
        (place, id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
         created_at, completed_at, route, label)
    select rowid, id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
        created_at, completed_at, route, label
    from idempotency_records_1 not indexed
    where rowid > ?1 and length(id) = 32
    order by rowid
    limit 20000
";

/// Whether both tables have the same ids in the same places. Each is read in the order of places.
const IS_TAKEN_OVER: &str = "
    select not exists (
        select 1 from idempotency_records_1 as old not indexed
        where length(id) = 32 and not exists (
            select 1 from idempotency_records not indexed where place = old.rowid and id = old.id
        )
    ) and not exists (
        select 1 from idempotency_records as new not indexed
        where not exists (
            select 1 from idempotency_records_1 not indexed where rowid = new.place and id = new.id
        )
    )
";

/// Whether the new table has only what comes from the old one.
const IS_COPY: &str = "
    select not exists (
        select 1 from idempotency_records as new not indexed
        where not exists (
            select 1 from idempotency_records_1
            where id = new.id and token = new.token and phase = new.phase
        )
    )
";

/// The places first: without records they would look complete.
const START_OVER: [&str; 2] = [
    "delete from idempotency_places",
    "delete from idempotency_records",
];

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

/// Without foreign keys SQLite deletes no row of the application with the old table. Otherwise renaming would check all
/// views and triggers of the application, and rewrite those that name the table.
const BEGIN: &str = "pragma foreign_keys = off; pragma legacy_alter_table = on";

const END: &str = "pragma legacy_alter_table = off; pragma foreign_keys = on";

type Failure = Box<dyn Error + Send + Sync>;

/// Upgrades the file, or goes on with an upgrade that was interrupted. The connection has no transaction.
pub(super) fn upgrade(connection: &mut Connection) -> Result<(), Failure> {
    if !is(connection, HAS_VERSION)? {
        return Ok(());
    }
    connection.execute_batch(BEGIN)?;
    let done = go_on(connection);
    connection.execute_batch(END)?;
    done
}

/// An upgrade has begun and has not ended, so the records are not all in the table of this version.
pub(super) fn is_unfinished(connection: &Connection) -> Result<bool, rusqlite::Error> {
    is(connection, IS_UNFINISHED)
}

fn go_on(connection: &mut Connection) -> Result<(), Failure> {
    let find = connection.query_row(FIND_VERSION, (), |row| row.get(0));
    let version: Option<i64> = find.optional()?;
    if version.is_some_and(|version| version < VERSION) {
        set_aside(connection)?;
    }
    if version.is_none_or(|version| version > VERSION) || !is_unfinished(connection)? {
        return Ok(());
    }
    tracing::info!("the tables of an earlier version in a SQLite file are upgraded");
    connection.execute_batch(DROP_TRIGGERS)?;
    take_over(connection)?;
    if !is(connection, IS_TAKEN_OVER)? {
        // The file was made anew since, from a text of its rows, which then have other places.
        if !is(connection, IS_COPY)? {
            return Err(refusal::NO_COPY.into());
        }
        for statement in START_OVER {
            connection.execute(statement, ())?;
        }
        take_over(connection)?;
        if !is(connection, IS_TAKEN_OVER)? {
            return Err(refusal::NO_COPY.into());
        }
    }
    if !is(connection, IS_PLACED)? {
        connection.execute(PLACE, ())?;
        connection.execute(SET_PLACED, ())?;
    }
    connection.execute_batch(CREATE_TRIGGERS)?;
    connection.execute(DROP, ())?;
    Ok(())
}

fn set_aside(connection: &mut Connection) -> Result<(), Failure> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    refusal::check(&transaction)?;
    for (column, kind) in LATER_COLUMNS {
        if !transaction.query_row(HAS_COLUMN, [column], |row| row.get(0))? {
            transaction.execute_batch(&format!("{ADD_COLUMN} {column} {kind}"))?;
        }
    }
    transaction.execute_batch(SET_ASIDE)?;
    transaction.execute_batch(CREATE_RECORDS)?;
    Ok(transaction.commit()?)
}

fn take_over(connection: &Connection) -> Result<(), rusqlite::Error> {
    loop {
        let last: i64 = connection.query_row(LAST, (), |row| row.get(0))?;
        if connection.execute(TAKE_OVER, [last])? == 0 {
            return Ok(());
        }
    }
}

fn is(connection: &Connection, question: &str) -> Result<bool, rusqlite::Error> {
    connection.query_row(question, (), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SQLite's programs for the statements have no table in memory and no sorter, so they need none for their rows.
    #[test]
    fn no_statement_on_all_rows_gathers_them_in_memory() {
        let mut connection = Connection::open_in_memory().expect("a database");
        let earlier = "
            create table idempotency_schema (version integer not null) strict;
            insert into idempotency_schema values (1);
            create table idempotency_records (
                id blob not null primary key, fingerprint blob not null, token blob not null,
                attempt integer not null, expires_at integer not null, phase integer not null,
                lease_until integer, outcome blob
            ) strict;
        ";
        connection.execute_batch(earlier).expect("tables");
        set_aside(&mut connection).expect("new tables");
        let opcodes = |statement: &str| -> Vec<String> {
            let explain = format!("explain {}", statement.replace("?1", "7"));
            let mut explain = connection.prepare(&explain).expect("a statement");
            let opcodes = explain.query_map((), |row| row.get(1)).expect("a program");
            opcodes.collect::<Result<_, _>>().expect("opcodes")
        };
        let gathers = |statement: &str| {
            let mut opcodes = opcodes(statement).into_iter();
            opcodes.any(|opcode| ["OpenEphemeral", "SorterOpen"].contains(&opcode.as_str()))
        };
        for statement in [TAKE_OVER, PLACE, SET_PLACED, IS_TAKEN_OVER] {
            assert!(!gathers(statement), "{statement}");
        }
        connection.execute_batch(CREATE_TRIGGERS).expect("triggers");
        assert!(gathers(TAKE_OVER), "why the triggers come last");
    }
}
