//! The secrets with which keys were stored before. Keys that are stored with one of them may live for a while.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use idempotency::SqliteDatabase;
use rusqlite::{Connection, params};

use crate::secret::Failure;

/// The secrets whose keys may still live.
pub(super) struct Former(Vec<Row>);

struct Row {
    verifier: Vec<u8>,
    /// Until when its last keys may live.
    lives_until: Duration,
}

/// A row for each secret, with the time of its last use in seconds since 1970. A table of its own, because a previous version of the
/// program reads the other one, and expects one row.
const CREATE: &str = "create table if not exists core_api_former_secrets \
     (verifier blob primary key, used_until integer not null) strict";
const IS_THERE: &str =
    "select exists (select * from sqlite_master where name = 'core_api_former_secrets')";
const FIND: &str = "select verifier, used_until from core_api_former_secrets";
const REMOVE: &str = "delete from core_api_former_secrets where verifier = ?1 or used_until < ?2";
const REMOVE_ALL: &str = "delete from core_api_former_secrets";
const INSERT: &str =
    "insert or replace into core_api_former_secrets (verifier, used_until) values (?1, ?2)";

/// Twice the longest ttl of a handler's response, as the guide says, with the minute that records are kept longer: a run that was lost at the
/// last moment may be resumed within the first of them, and leaves its response for the second. A response that an operator has stored for
/// longer is not known here.
const KEYS_LIVE_FOR: Duration = Duration::from_secs(2 * (24 * 3600 + 60));

/// Notes that keys are stored with the secret of this verifier from `now` on, and were stored with that of `former` until then.
pub(super) fn replace(connection: &Connection, former: &[u8], now: &[u8]) -> rusqlite::Result<()> {
    let time = seconds(since_1970());
    let forgotten = seconds(since_1970().saturating_sub(KEYS_LIVE_FOR));
    connection.execute_batch(CREATE)?;
    connection.execute(REMOVE, params![now, forgotten])?;
    connection.execute(INSERT, params![former, time])?;
    Ok(())
}

/// Forgets all of them, where there are no keys.
pub(super) fn forget(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(CREATE)?;
    connection.execute(REMOVE_ALL, [])?;
    Ok(())
}

impl Former {
    pub(super) async fn read(database: &SqliteDatabase) -> Result<Self, Failure> {
        let now = since_1970();
        let find = |connection: &Connection| {
            if !connection.query_row(IS_THERE, [], |row| row.get(0))? {
                return Ok(Vec::new());
            }
            let mut found = connection.prepare(FIND)?;
            let rows = found.query_map([], |row| {
                let used_until: i64 = row.get(1)?;
                let used_until = Duration::from_secs(used_until.try_into().unwrap_or(0));
                Ok(Row {
                    verifier: row.get(0)?,
                    lives_until: used_until.saturating_add(KEYS_LIVE_FOR),
                })
            })?;
            rows.collect()
        };
        let mut rows: Vec<Row> = database.write(find).await?;
        rows.retain(|row| row.lives_until > now);
        Ok(Self(rows))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to do about a secret whose keys may live, and that is none of the known ones.
    pub(super) fn other_than(&self, known: &[Vec<u8>]) -> Option<String> {
        let forgotten = |row: &&Row| !known.contains(&row.verifier);
        let forgotten = self.0.iter().filter(forgotten);
        let last = forgotten.max_by_key(|row| row.lives_until)?;
        let until = DateTime::<Utc>::from(SystemTime::UNIX_EPOCH + last.lives_until);
        let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
        let (how, name) = match last.verifier.is_empty() {
            true => ("without a secret", "give --previous-secret-file none"),
            false => (
                "with another secret",
                "name its file by --previous-secret-file, or by --next-secret-file if you go back",
            ),
        };
        Some(format!(
            "until {until} the database may have keys that are stored {how}, and their retries would run again: {name}"
        ))
    }
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
