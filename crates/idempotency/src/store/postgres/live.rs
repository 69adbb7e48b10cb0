//! Counts records for a metric.

use sqlx::{Row, query};

use super::{PostgresStore, connections::Retry, error::store_error};
use crate::store::StoreError;

/// Reads up to this many rows, from the end of the index, which takes milliseconds, and counts the records among them. Above that the number is what the server knew
/// at its last vacuum or analysis, which includes expired records and free keys. The limit comes before the filter: free keys would otherwise be read without a limit.
const COUNT: &str = "
    select case when read < $1 then records else greatest(records, reltuples::bigint) end
    from pg_class, (
        select count(*) as read, count(*) filter (where not (phase = 3 and attempt = 0)) as records
        from (
            select phase, attempt
            from idempotency_records
            where expires_at > (select clock_timestamp())
            order by expires_at desc
            limit $1
        ) as latest
    ) as live
    where pg_class.oid = 'idempotency_records'::regclass
";

const READ: i64 = 10_000;

impl PostgresStore {
    /// The records that have not expired, or an estimate.
    pub(super) async fn counted(&self) -> Result<u64, StoreError> {
        let sent = self
            .0
            .connections
            .run(Retry::Always, || query(COUNT).bind(READ));
        let counted = match sent.await?.first() {
            Some(row) => row.try_get::<i64, _>(0).map_err(store_error)?,
            None => 0,
        };
        Ok(counted.unsigned_abs())
    }
}
