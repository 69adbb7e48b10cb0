//! Counts records for a metric.

use sqlx::{Row, query};

use super::{PostgresStore, connections::Retry, error::store_error};
use crate::store::StoreError;

/// Counts up to this many records, from the end of the index, which takes milliseconds. Above that the number is what the server knew at its last vacuum or analysis, which
/// includes expired records.
const COUNT: &str = "
    select case when counted < $1 then counted else greatest(counted, reltuples::bigint) end
    from pg_class, (
        select count(*) as counted
        from (
            select 1
            from idempotency_records
            where expires_at > (select clock_timestamp()) and not (phase = 3 and attempt = 0)
            order by expires_at desc
            limit $1
        ) as found
    ) as live
    where pg_class.oid = 'idempotency_records'::regclass
";

const COUNTED: i64 = 10_000;

impl PostgresStore {
    /// The records that have not expired, or an estimate.
    pub(super) async fn counted(&self) -> Result<u64, StoreError> {
        let sent = self
            .0
            .connections
            .run(Retry::Always, || query(COUNT).bind(COUNTED));
        let counted = match sent.await?.first() {
            Some(row) => row.try_get::<i64, _>(0).map_err(store_error)?,
            None => 0,
        };
        Ok(counted.unsigned_abs())
    }
}
