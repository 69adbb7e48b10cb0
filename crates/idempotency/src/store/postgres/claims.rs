//! The first statement of a claim: alone, or for many keys at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sqlx::{postgres::PgRow, query};
use tokio::time::Instant;

use super::{
    PostgresStore,
    connections::{Apart, Attempt, Connections, TURNS},
    error::store_error,
    records::{Found, MAX_TOGETHER_OUTCOME, by_id, microseconds, rows},
    statements,
};
use crate::{
    Fingerprint,
    record::RecordId,
    store::{
        Hold, StoreError,
        lane::{Attempt as _, MAX_TOGETHER_BYTES, Sent, Together},
    },
};

/// [`statements::CLAIM`] for many keys. It waits for another session's uncommitted record only for a moment, because the
/// others wait with it: about as long as the server may take to commit. The records of all are taken in the order of their
/// ids, so that two such statements do not wait for each other. It leaves out the long outcomes, and all that are too long
/// together.
///
/// The offset keeps the lookups apart from the rest: each is one of a single id, whatever the server believes the size of
/// the table to be.
const CLAIM_TOGETHER: &str = "
    with clock as materialized (
        select clock_timestamp() as now, set_config('lock_timeout', $10, true)
    ),
    asked as materialized (
        select *
        from unnest($1, $2, $3, $4, $5, $6, $7) as asked (id, fingerprint, token, lease, ttl, route, label)
    ),
    found as materialized (
        select record.*
        from asked cross join lateral (
            select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, awaited, spent
            from idempotency_records
            where id = asked.id
            offset 0
        ) as record
    ),
    taken as (
        insert into idempotency_records
            (id, fingerprint, token, attempt, expires_at, phase, lease_until, created_at, route, label)
        select id, fingerprint, token, 1,
            now + (lease + ttl) * interval '1 microsecond', 1, now + lease * interval '1 microsecond', now, route, label
        from asked, clock
        where not exists (select from found where found.id = asked.id)
        order by id
        on conflict (id) do nothing
        returning id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, awaited, spent
    )
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome,
        expires_at <= now as expired, coalesce(lease_until <= now, false) as lapsed, awaited, spent
    from clock, (
        select *, sum(length) over (order by length, id rows unbounded preceding) as total
        from (
            select *, coalesce(octet_length(outcome), 0) as length
            from (select * from found union all select * from taken) as record
        ) as record
    ) as record
    where length <= $8 and total <= $9
";

/// How long a claim with others waits for a lock, however slow commits are: it may meet many, one after the other, and a claim alone waits
/// no longer than this.
const MAX_LOCK_WAIT: Duration = Duration::from_millis(240);

/// How long a key goes alone after its claim has met a lock, unless a claim meets none before that.
const BLOCKED_FOR: Duration = Duration::from_secs(60);

/// Claims that go together. Several may be of the same key: one takes it, and the others find its record.
pub(super) struct Claims {
    connections: Arc<Connections>,
    /// The keys that may be locked.
    blocked: Mutex<HashMap<RecordId, Instant>>,
}

pub(super) struct ClaimStep {
    hold: Hold,
    fingerprint: Fingerprint,
}

/// What the first statement of a claim finds.
pub(super) enum First {
    /// The key's record, which may be the one that this claim has just taken.
    Record(Box<Found>),
    /// Another claim has taken the key in the middle of this one, which finds its record next.
    Nothing,
    /// Another session is in the middle of a step on the key.
    Locked,
}

impl First {
    fn read(row: &PgRow) -> Result<Self, StoreError> {
        let found = Found::read(row).map_err(store_error)?;
        Ok(Self::Record(Box::new(found)))
    }
}

impl Claims {
    pub(super) fn new(connections: Arc<Connections>) -> Self {
        Self {
            connections,
            blocked: Mutex::default(),
        }
    }

    fn is_blocked(&self, id: &RecordId) -> bool {
        let blocked = self.blocked.lock();
        blocked
            .get(id)
            .is_some_and(|since| since.elapsed() < BLOCKED_FOR)
    }

    fn block<'a>(&self, ids: impl Iterator<Item = &'a RecordId>) {
        let now = Instant::now();
        let mut blocked = self.blocked.lock();
        blocked.retain(|_, since| since.elapsed() < BLOCKED_FOR);
        blocked.extend(ids.map(|id| (*id, now)));
    }

    fn unblock(&self, id: &RecordId) {
        self.blocked.lock().remove(id);
    }
}

impl Together for Claims {
    const TURNS: usize = TURNS;

    type Step = ClaimStep;
    type Done = First;
    type Attempt = Attempt;

    fn bytes(_: &ClaimStep) -> usize {
        0
    }

    async fn send(&self, steps: &[ClaimStep], deadline: Instant, patience: Duration) -> Sent<Self> {
        let holds = || steps.iter().map(|step| &step.hold);
        let fingerprints = steps.iter().map(|step| step.fingerprint.as_bytes());
        let statement = query(CLAIM_TOGETHER)
            .bind(
                holds()
                    .map(|hold| &hold.id.as_bytes()[..])
                    .collect::<Vec<_>>(),
            )
            .bind(fingerprints.map(|it| &it[..]).collect::<Vec<_>>())
            .bind(
                holds()
                    .map(|hold| &hold.token.as_bytes()[..])
                    .collect::<Vec<_>>(),
            )
            .bind(
                holds()
                    .map(|hold| microseconds(hold.lease))
                    .collect::<Vec<_>>(),
            )
            .bind(
                holds()
                    .map(|hold| microseconds(hold.ttl))
                    .collect::<Vec<_>>(),
            )
            .bind(holds().map(|hold| hold.labels.route()).collect::<Vec<_>>())
            .bind(holds().map(|hold| hold.labels.label()).collect::<Vec<_>>())
            .bind(MAX_TOGETHER_OUTCOME)
            .bind(rows(MAX_TOGETHER_BYTES))
            .bind(format!("{}ms", patience.min(MAX_LOCK_WAIT).as_millis()));
        let rows = self.connections.run_together(statement, deadline).await;
        if matches!(rows, Err(Apart::Locked | Apart::Undone)) {
            // It is not known which of them it is, so each proves by itself that it harms no others.
            self.block(holds().map(|hold| &hold.id));
        }
        let rows = rows?;
        let rows = by_id(&rows);
        Ok(holds()
            .map(|hold| rows.get(&hold.id).map(|row| First::read(row)))
            .collect())
    }
}

impl PostgresStore {
    /// Takes the key if it is unused, or reads its record.
    pub(super) async fn claim_once(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<First, StoreError> {
        let claims = self.0.claims.together();
        // A claim without a lease waits for a lock like the other statements.
        if hold.lease.is_zero() || claims.is_blocked(&hold.id) {
            return self.claim_alone(Attempt::first(), hold, fingerprint).await;
        }
        let step = || ClaimStep {
            hold: hold.clone(),
            fingerprint: *fingerprint,
        };
        let alone = |attempt| self.claim_alone(attempt, hold, fingerprint);
        self.0.claims.run(step, alone).await
    }

    async fn claim_alone(
        &self,
        attempt: Attempt,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<First, StoreError> {
        let rows = self.step_of_claim(attempt, hold, || {
            query(statements::CLAIM)
                .bind(hold.id.as_bytes())
                .bind(fingerprint.as_bytes())
                .bind(hold.token.as_bytes())
                .bind(microseconds(hold.lease))
                .bind(microseconds(hold.ttl))
                .bind(hold.labels.route())
                .bind(hold.labels.label())
        });
        let claims = self.0.claims.together();
        let Some(rows) = rows.await? else {
            claims.block([&hold.id].into_iter());
            return Ok(First::Locked);
        };
        claims.unblock(&hold.id);
        rows.first().map_or(Ok(First::Nothing), First::read)
    }
}
