//! The store's tables, and the version of them that a file has.

use std::cmp::Ordering;

use rusqlite::OptionalExtension;

use super::{SqliteDatabase, SqliteStoreError, saved, upgrade};

/// The version that this code reads and writes. A change of the tables increases it, and adds a migration from each
/// older one.
pub(super) const VERSION: i64 = 2;

// A separate table and not `user_version`, which belongs to the application that shares the file.
const CREATE_VERSION: &str = "
    create table if not exists idempotency_schema (version integer not null) strict;
";

const FIND_VERSION: &str = "select version from idempotency_schema";

const SET_VERSION: &str = "insert into idempotency_schema (version) values (?1)";

// Rows are appended, and `place` is their order in time. `lease_until` is set only while the record is in flight or
// withdrawn. `outcome` is the run's progress until it is completed, and then its outcome. `spent` holds the spent tokens
// other than the record's own, 16 bytes each, the latest first. Times are in milliseconds since 1970. `scope` is a
// digest of the record's scope. `created_at` is when its first attempt claimed the key, or its transaction was
// committed. An operator finds the record by `route` and `label`.
//
// No index has the ids, because each new one would change a page of its own. The store finds recent rows by an index in
// memory, and the others by `idempotency_places`, which is written in the order of ids. `start` is the first eight bytes
// of an id, and empty in the row whose place is the last one up to which the table has all. A program that changes a row need
// not know of that table.
pub(super) const CREATE_RECORDS: &str = "
    create table idempotency_records (
        place integer primary key,
        id blob not null check (length(id) = 32),
        fingerprint blob not null,
        token blob not null,
        attempt integer not null,
        expires_at integer not null,
        phase integer not null,
        lease_until integer,
        outcome blob,
        spent blob,
        scope integer,
        created_at integer,
        completed_at integer,
        route text,
        label text
    ) strict;
    create index idempotency_records_by_expiry on idempotency_records (expires_at);
    create table idempotency_places (
        start blob not null check (length(start) in (0, 8)),
        place integer not null,
        primary key (start, place)
    ) strict, without rowid;
";

pub(super) const CREATE_TRIGGERS: &str = "
    create trigger idempotency_records_added after insert on idempotency_records
        when new.place <= (select max(place) from idempotency_places where start = x'')
    begin
        insert or ignore into idempotency_places (start, place)
            select substr(new.id, 1, 8), new.place where length(new.id) = 32;
    end;
    create trigger idempotency_records_removed after delete on idempotency_records begin
        delete from idempotency_places where start = substr(old.id, 1, 8) and place = old.place;
    end;
    create trigger idempotency_records_moved after update of id, place on idempotency_records begin
        delete from idempotency_places where start = substr(old.id, 1, 8) and place = old.place;
        insert or ignore into idempotency_places (start, place)
            select substr(new.id, 1, 8), new.place where length(new.id) = 32;
    end;
";

/// Creates the tables that do not exist.
pub(super) fn set_up(database: &SqliteDatabase) -> Result<(), SqliteStoreError> {
    let (found, is_unfinished) = database.write_blocking(|connection| {
        connection.execute_batch(CREATE_VERSION)?;
        let found = connection
            .query_row(FIND_VERSION, (), |row| row.get(0))
            .optional()?;
        if found.is_none_or(|found| found <= VERSION) {
            // Files of the first releases lack this table, and those releases ignore it.
            connection.execute_batch(saved::CREATE)?;
        }
        if let Some(found) = found {
            return Ok((found, upgrade::is_unfinished(connection)?));
        }
        connection.execute_batch(CREATE_RECORDS)?;
        connection.execute_batch(CREATE_TRIGGERS)?;
        connection.execute(SET_VERSION, [VERSION])?;
        Ok((VERSION, false))
    })?;
    match found.cmp(&VERSION) {
        Ordering::Equal if !is_unfinished => Ok(()),
        Ordering::Greater => Err(SqliteStoreError::NewerSchema {
            found,
            known: VERSION,
        }),
        // Opening the file has upgraded what it had.
        Ordering::Less | Ordering::Equal => Err(SqliteStoreError::open(
            database.path(),
            "tables of an earlier version were put into the open file: open it again",
        )),
    }
}
