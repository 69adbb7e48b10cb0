//! Which keys the file may have records of, so that nobody need look for those of which it has none.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, Error};

use crate::RecordId;

/// One bit for each remainder of an id. Ids are digests, so a new one meets a bit that is set as often as bits are set:
/// one time in seventeen with a million records. Then there is a look, as without this. Bits are never taken back.
///
/// It can say that there is no record because one process has the file at a time, and all that writes records goes by
/// this. Whoever sees a bit too late is told by the thread that writes.
#[derive(Clone)]
pub(super) struct RecordFilter(Arc<[AtomicU64]>);

/// Two megabytes.
const BITS: usize = 1 << 24;

impl RecordFilter {
    /// Of all records that are there. Says whether there are any.
    pub(super) fn load(connection: &Connection) -> Result<(Self, bool), Error> {
        let known = Self((0..BITS / 64).map(|_| AtomicU64::new(0)).collect());
        let mut ids = connection.prepare("select id from idempotency_records")?;
        let mut rows = ids.query(())?;
        let mut has_records = false;
        while let Some(row) = rows.next()? {
            has_records = true;
            // What is no id is nobody's, and whoever lists the records is told of it.
            if let Ok(id) = row.get(0) {
                known.add(&RecordId::from_bytes(id));
            }
        }
        Ok((known, has_records))
    }

    /// Takes note of a record before it is written.
    pub(super) fn add(&self, id: &RecordId) {
        let (word, bit) = place(id);
        self.0[word].fetch_or(bit, Ordering::Release);
    }

    pub(super) fn may_have(&self, id: &RecordId) -> bool {
        let (word, bit) = place(id);
        self.0[word].load(Ordering::Acquire) & bit != 0
    }
}

fn place(id: &RecordId) -> (usize, u64) {
    let [a, b, c, ..] = *id.as_bytes();
    let position = u32::from_be_bytes([0, a, b, c]) as usize;
    (position / 64, 1 << (position % 64))
}
