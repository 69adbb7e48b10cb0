//! Counts records for a metric.

use rusqlite::{Connection, Error, OptionalExtension, params};

use super::{SqliteStore, millis::Millis};
use crate::store::StoreError;

/// How many records are counted in one piece of work. Replays may wait for it.
const COUNTED_AT_ONCE: u32 = 4096;

/// The last of the next few records in the order of their expiry, in which the index has all that is read.
const LAST: &str = "
    select expires_at, rowid
    from idempotency_records
    where (expires_at, rowid) > (?1, ?2)
    order by expires_at, rowid
    limit 1 offset ?3
";

/// How many records are left, if they are fewer.
const REST: &str = "select count(*) from idempotency_records where (expires_at, rowid) > (?1, ?2)";

/// How far the records are counted.
#[derive(Clone, Copy)]
struct Place {
    expires_at: Millis,
    row: i64,
}

/// The next place, or how many records are left.
enum Piece {
    Full(Place),
    Last(u32),
}

impl SqliteStore {
    /// The records that have not expired. A free key that has spent tokens counts until it is swept.
    pub(super) async fn counted(&self) -> Result<u64, StoreError> {
        let mut counted = 0_u64;
        let mut place = Place {
            expires_at: Millis::at(self.timeline.now().judged),
            row: i64::MAX,
        };
        loop {
            let piece = self
                .database
                .look_up(move |connection| count(connection, place))
                .await?;
            match piece {
                Piece::Full(next) => {
                    counted += u64::from(COUNTED_AT_ONCE);
                    place = next;
                }
                Piece::Last(rest) => return Ok(counted + u64::from(rest)),
            }
        }
    }
}

fn count(connection: &Connection, after: Place) -> Result<Piece, Error> {
    let Place { expires_at, row } = after;
    let last = connection
        .prepare_cached(LAST)?
        .query_row(params![expires_at, row, COUNTED_AT_ONCE - 1], |found| {
            Ok(Place {
                expires_at: found.get(0)?,
                row: found.get(1)?,
            })
        })
        .optional()?;
    if let Some(last) = last {
        return Ok(Piece::Full(last));
    }
    let rest = connection
        .prepare_cached(REST)?
        .query_row(params![expires_at, row], |found| found.get(0))?;
    Ok(Piece::Last(rest))
}
