//! What would go wrong with this file.

use rusqlite::Connection;

use super::SqliteDatabase;
use crate::{log_text::Causes, store::Verification};

/// What the file says of itself.
struct Found {
    journal: String,
    schema: Option<i64>,
    damage: String,
    /// How many more records than places, up to where the table of places has all.
    without_place: i64,
}

const WITHOUT_PLACE: &str = "
    with complete (up_to) as (
        select coalesce(max(place), 0) from idempotency_places where start = x''
    )
    select
        (select count(*) from idempotency_records where place <= up_to and length(id) = 32)
        - (select count(*) from idempotency_places where start > x'' and place <= up_to)
    from complete
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
    if found.without_place != 0 {
        verification.problem(
            "index",
            "the table idempotency_places does not agree with the table idempotency_records",
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
    Ok(Found {
        journal: text("pragma journal_mode")?,
        schema: connection.query_row("select max(version) from idempotency_schema", [], |row| {
            row.get(0)
        })?,
        damage: text("pragma quick_check(1)")?,
        without_place: connection.query_row(WITHOUT_PLACE, [], |row| row.get(0))?,
    })
}
