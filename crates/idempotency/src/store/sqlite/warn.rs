//! Warnings to operators about clocks. SQLite formats the dates.

use std::time::SystemTime;

use rusqlite::{Connection, Error};

use super::millis::Millis;

pub(super) fn ahead(
    connection: &Connection,
    file: SystemTime,
    clock: SystemTime,
    until: SystemTime,
) -> Result<(), Error> {
    tracing::warn!(
        file = date(connection, file)?,
        clock = date(connection, clock)?,
        until = date(connection, until)?,
        "the clock is more than an hour ahead of the time in the SQLite file: the service was stopped, the machine slept, \
         or the clock was set. No key expires early; until the last date, keys live longer by the difference. \
         If the clock is wrong, correct it; otherwise there is nothing to do",
    );
    Ok(())
}

pub(super) fn behind(
    connection: &Connection,
    file: SystemTime,
    clock: SystemTime,
) -> Result<(), Error> {
    tracing::warn!(
        file = date(connection, file)?,
        clock = date(connection, clock)?,
        "the clock is more than an hour behind the time in the SQLite file. No key expires early; while it is behind, keys \
         are kept longer by the difference. If the clock is wrong, correct it; otherwise there is nothing to do",
    );
    Ok(())
}

fn date(connection: &Connection, time: SystemTime) -> Result<String, Error> {
    let text = "select strftime('%Y-%m-%dT%H:%M:%SZ', ?1 / 1000, 'unixepoch')";
    connection.query_row(text, [Millis::at(time)], |row| row.get(0))
}
