//! Completions: alone, or of many keys at once.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use sqlx::query;
use tokio::time::Instant;

use super::{
    PostgresStore,
    connections::{Attempt, Connections, Retry, TURNS},
    error::store_error,
    records::{MAX_TOGETHER_OUTCOME, by_id, microseconds, time},
    statements,
};
use crate::{
    record::{RecordId, Token},
    store::{
        Hold, IfOwner, StoreError, Wakeups,
        lane::{Attempt as _, Sent, Together},
    },
};

/// [`statements::COMPLETE`] for many keys. Each row is completed if it is its owner's, as there. It leaves out what another
/// session has locked, and what is not in flight under that token.
///
/// The insertions all meet the rows that were just locked. An update would be joined with them, and the server might read
/// the whole table for that, as long as it believes it to be small.
const COMPLETE_TOGETHER: &str = "
    with owned as materialized (
        select record.*, asked.ttl, asked.response
        from unnest($1, $2, $3, $4) as asked (id, token, ttl, response)
        cross join lateral (
            select id, fingerprint, token, attempt, expires_at
            from idempotency_records
            where id = asked.id and token = asked.token and phase = 1
            for no key update skip locked
        ) as record
    )
    insert into idempotency_records as record
        (id, fingerprint, token, attempt, expires_at, phase, outcome, completed_at)
    select id, fingerprint, token, attempt, now + ttl * interval '1 microsecond', 2, response, now
    from (select clock_timestamp() as now) as clock, owned
    where expires_at > now
    on conflict (id) do update
    set expires_at = excluded.expires_at,
        phase = excluded.phase,
        lease_until = null,
        outcome = excluded.outcome,
        spent = null,
        completed_at = excluded.completed_at
    returning id, expires_at, case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

pub(super) struct Completions {
    connections: Arc<Connections>,
    wakeups: Wakeups,
}

pub(super) struct Completion {
    id: RecordId,
    token: Token,
    ttl: i64,
    outcome: Bytes,
}

impl Completions {
    pub(super) const fn new(connections: Arc<Connections>, wakeups: Wakeups) -> Self {
        Self {
            connections,
            wakeups,
        }
    }
}

impl Together for Completions {
    const TURNS: usize = TURNS;

    type Step = Completion;
    type Done = IfOwner<SystemTime>;
    type Attempt = Attempt;

    fn bytes(step: &Completion) -> usize {
        step.outcome.len()
    }

    async fn send(&self, steps: &[Completion], deadline: Instant, _: Duration) -> Sent<Self> {
        // Of one key, only the first: a statement can change a row once.
        let is_first = |(index, step): &(usize, &Completion)| {
            !steps[..*index].iter().any(|other| other.id == step.id)
        };
        let firsts = || {
            steps
                .iter()
                .enumerate()
                .filter(is_first)
                .map(|(_, step)| step)
        };
        let statement = query(COMPLETE_TOGETHER)
            .bind(firsts().map(|it| &it.id.as_bytes()[..]).collect::<Vec<_>>())
            .bind(
                firsts()
                    .map(|it| &it.token.as_bytes()[..])
                    .collect::<Vec<_>>(),
            )
            .bind(firsts().map(|it| it.ttl).collect::<Vec<_>>())
            .bind(firsts().map(|it| &it.outcome[..]).collect::<Vec<_>>());
        let rows = self.connections.run_together(statement, deadline).await?;
        let mut rows = by_id(&rows);
        // Not in the tasks of the callers, which may have left, or may not run for a while.
        rows.keys().for_each(|id| self.wakeups.wake(id));
        let completed = |step: &Completion| {
            let expires_at = time(rows.remove(&step.id)?, 1);
            Some(expires_at.map(IfOwner::Done).map_err(store_error))
        };
        Ok(steps.iter().map(completed).collect())
    }
}

impl PostgresStore {
    pub(super) async fn complete_as_owner(
        &self,
        hold: &Hold,
        outcome: &Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let is_long =
            i32::try_from(outcome.len()).map_or(true, |length| length > MAX_TOGETHER_OUTCOME);
        if is_long {
            return self.complete_alone(Attempt::first(), hold, outcome).await;
        }
        let step = || Completion {
            id: hold.id,
            token: hold.token,
            ttl: microseconds(hold.ttl),
            outcome: outcome.clone(),
        };
        let alone = |attempt| self.complete_alone(attempt, hold, outcome);
        self.0.completions.run(step, alone).await
    }

    async fn complete_alone(
        &self,
        attempt: Attempt,
        hold: &Hold,
        outcome: &Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let rows = self.0.connections.run_on(attempt, Retry::Always, || {
            query(statements::COMPLETE)
                .bind(hold.id.as_bytes())
                .bind(hold.token.as_bytes())
                .bind(microseconds(hold.ttl))
                .bind(outcome.as_ref())
        });
        match rows.await?.first() {
            Some(row) => {
                self.0.wakeups.wake(&hold.id);
                Ok(IfOwner::Done(time(row, 0).map_err(store_error)?))
            }
            None => Ok(IfOwner::NotOwner),
        }
    }
}
