//! A bitmap of the records that may be in the file; a claim for an id that is not in it skips the read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use rusqlite::{Connection, Error};

use crate::record::RecordId;

/// One bit for each remainder of an id. Ids are digests, so a new id meets a set bit as often as bits are set: one time
/// in seventeen with a million records. Then the store reads the file, as it would without this. Bits are never
/// cleared.
///
/// It can tell that there is no record because only one process has the file open, and all code that writes records
/// adds them here first. A caller that sees a bit too late learns of the record from the thread that writes.
#[derive(Clone)]
pub(super) struct RecordFilter(Arc<[AtomicU64]>);

/// Two megabytes.
const BITS: usize = 1 << 24;

impl RecordFilter {
    /// A filter of all records in the file. Also returns whether there are any.
    pub(super) fn load(connection: &Connection) -> Result<(Self, bool), Error> {
        let known = Self((0..BITS / 64).map(|_| AtomicU64::new(0)).collect());
        let mut ids = connection.prepare("select id from idempotency_records")?;
        let mut rows = ids.query(())?;
        let mut has_records = false;
        while let Some(row) = rows.next()? {
            has_records = true;
            // Skip malformed ids; `list` reports them.
            if let Ok(id) = row.get(0) {
                known.add(&RecordId::from_bytes(id));
            }
        }
        Ok((known, has_records))
    }

    /// Adds a record before it is written.
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
