//! Reads of records: alone, or of many keys at once.

use std::{sync::Arc, time::Duration};

use sqlx::{Row, query};
use tokio::time::Instant;

use super::{
    PostgresStore,
    connections::{Attempt, Connections, Retry, TURNS},
    error::store_error,
    records::{MAX_TOGETHER_OUTCOME, by_id, rows, whole_record},
};
use crate::{
    record::{Record, RecordId},
    store::{
        StoreError,
        lane::{MAX_TOGETHER_BYTES, Sent, Together},
    },
};

/// Changes nothing, and yet fails on a server that accepts no writes. That can be a standby, which may lack a record
/// that its primary has.
const FIND: &str = "
    with writable as (
        update idempotency_records set awaited = awaited where false
    )
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome,
        created_at, completed_at, route, label
    from idempotency_records
    where id = $1 and expires_at > clock_timestamp() and not (phase = 3 and attempt = 0)
";

/// [`FIND`] for many keys. Each that it looks at has a row, which says whether there is a record. It leaves out the long
/// outcomes, and all that are too long together.
const FIND_TOGETHER: &str = "
    with writable as (
        update idempotency_records set awaited = awaited where false
    )
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome,
        created_at, completed_at, route, label, is_there
    from (
        select *, sum(length) over (order by length, id rows unbounded preceding) as total
        from (
            select asked.id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome,
                created_at, completed_at, route, label, record.id is not null as is_there,
                coalesce(octet_length(outcome), 0) as length
            from unnest($1) as asked (id)
            left join lateral (
                select *
                from idempotency_records
                where id = asked.id and expires_at > clock_timestamp() and not (phase = 3 and attempt = 0)
                offset 0
            ) as record on true
        ) as looked
    ) as looked
    where length <= $2 and total <= $3
";

pub(super) struct Looks {
    connections: Arc<Connections>,
}

impl Looks {
    pub(super) const fn new(connections: Arc<Connections>) -> Self {
        Self { connections }
    }
}

impl Together for Looks {
    const TURNS: usize = TURNS;

    type Step = RecordId;
    type Done = Option<Record>;
    type Attempt = Attempt;

    fn bytes(_: &RecordId) -> usize {
        0
    }

    async fn send(&self, steps: &[RecordId], deadline: Instant, _: Duration) -> Sent<Self> {
        let ids: Vec<_> = steps.iter().map(|id| &id.as_bytes()[..]).collect();
        let statement = query(FIND_TOGETHER)
            .bind(ids)
            .bind(MAX_TOGETHER_OUTCOME)
            .bind(rows(MAX_TOGETHER_BYTES));
        let rows = self.connections.run_together(statement, deadline).await?;
        let rows = by_id(&rows);
        let found = |id| {
            let row = rows.get(id)?;
            let found = match row.try_get(12) {
                Ok(true) => whole_record(row).map(Some),
                Ok(false) => Ok(None),
                Err(error) => Err(error),
            };
            Some(found.map_err(store_error))
        };
        Ok(steps.iter().map(found).collect())
    }
}

impl PostgresStore {
    pub(super) async fn find(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let alone = |attempt| self.find_alone(attempt, id);
        self.0.looks.run(|| *id, alone).await
    }

    async fn find_alone(
        &self,
        attempt: Attempt,
        id: &RecordId,
    ) -> Result<Option<Record>, StoreError> {
        let find = || query(FIND).bind(id.as_bytes());
        let rows = self.0.connections.run_on(attempt, Retry::Always, find);
        let found = rows.await?.first().map(whole_record);
        found.transpose().map_err(store_error)
    }
}
