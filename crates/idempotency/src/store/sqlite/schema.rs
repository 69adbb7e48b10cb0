//! The store's tables, and the version of them that a file has.

use rusqlite::OptionalExtension;

use super::{SqliteDatabase, SqliteStoreError, saved};

/// The version that this code reads and writes. A change of the tables increases it, and adds a migration from each
/// older one.
const VERSION: i64 = 1;

// A separate table and not `user_version`, which belongs to the application that shares the file.
const CREATE_VERSION: &str = "
    create table if not exists idempotency_schema (version integer not null) strict;
";

const FIND_VERSION: &str = "select version from idempotency_schema";

const SET_VERSION: &str = "insert into idempotency_schema (version) values (?1)";

// `lease_until` is set only while the record is in flight or withdrawn. `outcome` is the run's progress until it is
// completed, and then its outcome. `spent` holds the spent tokens other than the record's own, 16 bytes each, the
// latest first. Times are in milliseconds since 1970. `scope` is a digest of the record's scope. `created_at` is when
// its first attempt claimed the key, or its transaction was committed. An operator finds the record by `route` and
// `label`.
const CREATE_RECORDS: &str = "
    create table idempotency_records (
        id blob not null primary key,
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
";

// Files of earlier releases lack these columns, and those releases ignore them.
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

/// Creates the tables that do not exist.
pub(super) fn set_up(database: &SqliteDatabase) -> Result<(), SqliteStoreError> {
    let found = database.write_blocking(|connection| {
        connection.execute_batch(CREATE_VERSION)?;
        let found = connection
            .query_row(FIND_VERSION, (), |row| row.get(0))
            .optional()?;
        if found.is_none_or(|found| found <= VERSION) {
            // Files of the first releases lack this table, and those releases ignore it.
            connection.execute_batch(saved::CREATE)?;
        }
        if let Some(found) = found {
            if found <= VERSION {
                for (column, kind) in LATER_COLUMNS {
                    let has_it = connection.query_row(HAS_COLUMN, [column], |row| row.get(0));
                    if !has_it? {
                        connection.execute_batch(&format!("{ADD_COLUMN} {column} {kind}"))?;
                    }
                }
            }
            return Ok(found);
        }
        connection.execute_batch(CREATE_RECORDS)?;
        connection.execute(SET_VERSION, [VERSION])?;
        Ok(VERSION)
    })?;
    if found > VERSION {
        return Err(SqliteStoreError::NewerSchema {
            found,
            known: VERSION,
        });
    }
    Ok(())
}
