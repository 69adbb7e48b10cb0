//! What would go wrong with this file.

use rusqlite::Connection;

use super::SqliteDatabase;
use crate::{log_text::Causes, store::Verification};

/// What the file says of itself.
struct Found {
    journal: String,
    schema: Option<i64>,
    damage: String,
    /// How many records have no place in the table of places, up to where it has all.
    without_place: i64,
    /// How many places have no record.
    without_record: i64,
}

const WITHOUT_PLACE: &str = "
    select count(*) from idempotency_records as record
    where place <= (select max(place) from idempotency_places where start = x'')
        and length(id) = 32
        and not exists (
            select 1 from idempotency_places
            where start = substr(record.id, 1, 8) and place = record.place
        )
";

const WITHOUT_RECORD: &str = "
    select count(*) from idempotency_places as index_entry
    where start > x''
        and not exists (
            select 1 from idempotency_records
            where place = index_entry.place and substr(id, 1, 8) = index_entry.start
        )
";

/// Adds what the file says of itself. It is read as a whole, on a thread for the application's reads.
pub(super) async fn check(database: &SqliteDatabase, verification: &mut Verification) {
    verification.ok("version", format!("SQLite {}", rusqlite::version()));
    let found = match database.read(find).await {
        Ok(found) => {
            verification.ok(
                "reachable",
                "the file is open, and no other process has its lock",
            );
            found
        }
        Err(error) => {
            verification.problem(
                "reachable",
                Causes(&error).to_string(),
                "look at the file, its folder and its disk",
            );
            return;
        }
    };
    match found.schema {
        Some(version) => verification.ok("schema", format!("the tables have version {version}")),
        None => verification.problem(
            "schema",
            "the table idempotency_schema is empty",
            "restore the file from a copy",
        ),
    }
    if found.damage == "ok" {
        verification.ok("integrity", "the file is intact");
    } else {
        verification.problem(
            "integrity",
            found.damage,
            "restore the file from a copy, or recover it with the command .recover of sqlite3, and then \"delete from idempotency_places\"",
        );
    }
    if (found.without_place, found.without_record) != (0, 0) {
        verification.problem(
            "index",
            format!(
                "{} records are not in the table idempotency_places, and {} of its places have no record",
                found.without_place, found.without_record
            ),
            "stop the service, run \"delete from idempotency_places\" by sqlite3, and start the service again",
        );
    }
    if found.journal == "wal" {
        verification.ok(
            "durability",
            "each commit is on the disk before it is acknowledged",
        );
    } else {
        verification.warning(
            "durability",
            format!("the journal is in mode {}, and not in wal", found.journal),
            "keep the file on a local file system, and let no other program change its mode",
        );
    }
}

fn find(connection: &Connection) -> Result<Found, rusqlite::Error> {
    let text = |pragma: &str| connection.query_row(pragma, [], |row| row.get(0));
    let number = |count: &str| connection.query_row(count, [], |row| row.get(0));
    // All is of one moment. The thread that reads ends this.
    connection.execute_batch("begin")?;
    Ok(Found {
        journal: text("pragma journal_mode")?,
        schema: connection.query_row("select max(version) from idempotency_schema", [], |row| {
            row.get(0)
        })?,
        damage: text("pragma quick_check(1)")?,
        without_place: number(WITHOUT_PLACE)?,
        without_record: number(WITHOUT_RECORD)?,
    })
}
