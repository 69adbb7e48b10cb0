//! What the file says about the time when it was written.

use std::time::{Duration, SystemTime};

use rusqlite::{Connection, Error, OptionalExtension, params, types::Type};

use super::{
    leaps::{Leap, Leaps},
    millis::Millis,
};

/// The time of the last write to the file, or up to a second before.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) wall: SystemTime,
    pub(super) leases: SystemTime,
    pub(super) leaps: Leaps,
    pub(super) behind_since: Option<SystemTime>,
}

// One row. `leaps` is a JSON list of jumps: how far each goes, and when its first and last end. All times are in
// milliseconds, and since 1970.
pub(super) const CREATE: &str = "
    create table if not exists idempotency_clock (
        id integer primary key check (id = 1),
        wall integer not null,
        leases integer not null,
        leaps text not null,
        behind_since integer
    ) strict;
";

const FIND: &str = "select wall, leases, leaps, behind_since from idempotency_clock";

const SAVE: &str = "
    insert into idempotency_clock (id, wall, leases, leaps, behind_since) values (1, ?1, ?2, ?3, ?4)
    on conflict (id) do update set
        wall = excluded.wall,
        leases = excluded.leases,
        leaps = excluded.leaps,
        behind_since = excluded.behind_since
";

const LATEST_EXPIRY: &str = "select max(expires_at) from idempotency_records where expires_at < ?1";

pub(super) fn find(connection: &Connection) -> Result<Option<Saved>, Error> {
    let saved = connection.query_row(FIND, (), |row| {
        let leaps = serde_json::from_str(&row.get::<_, String>(2)?);
        let leaps: Vec<(u64, u64, u64)> =
            leaps.map_err(|error| Error::FromSqlConversionFailure(2, Type::Text, error.into()))?;
        Ok(Saved {
            wall: row.get::<_, Millis>(0)?.time(),
            leases: row.get::<_, Millis>(1)?.time(),
            leaps: leaps
                .into_iter()
                .map(|(ahead, from, until)| Leap {
                    ahead: Duration::from_millis(ahead),
                    from: Millis::since_1970(from).time(),
                    until: Millis::since_1970(until).time(),
                })
                .collect(),
            behind_since: row.get::<_, Option<Millis>>(3)?.map(Millis::time),
        })
    });
    saved.optional()
}

pub(super) fn save(connection: &Connection, saved: &Saved) -> Result<(), Error> {
    // Rounded up, so that nothing ends early.
    let leaps = saved.leaps.iter().map(|leap| {
        let ahead = leap.ahead.as_nanos().div_ceil(1_000_000);
        let [from, until] =
            [leap.from, leap.until].map(|end| Millis::after(end, Duration::ZERO).get());
        (u64::try_from(ahead).unwrap_or(u64::MAX), from, until)
    });
    let leaps = serde_json::to_string(&leaps.collect::<Vec<_>>())
        .map_err(|error| Error::ToSqlConversionFailure(error.into()))?;
    connection.prepare_cached(SAVE)?.execute(params![
        Millis::at(saved.wall),
        Millis::at(saved.leases),
        leaps,
        saved.behind_since.map(Millis::at),
    ])?;
    Ok(())
}

/// When the last record expires, except records that never do.
pub(super) fn latest_expiry(connection: &Connection) -> Result<Option<Millis>, Error> {
    connection
        .prepare_cached(LATEST_EXPIRY)?
        .query_row([Millis::LATEST], |row| row.get(0))
}
