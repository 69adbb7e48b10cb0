//! Listing and resolving records, for operators.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use sqlx::query;

use super::{
    PostgresStore,
    connections::Retry,
    error::store_error,
    records::{self, MAX_OUTCOME, Timestamp, fenced, microseconds},
};
use crate::{
    record::{RecordId, Token},
    store::{
        IfOwner, ListRequest, Listed, ListedPhase, Resolution, SPENT_FOR, StoreError, check_length,
    },
};

/// Reads this many records and returns those that match, and those that cannot be read. Each row, of which there is at
/// least one, also contains the id after which the list continues. A row whose id is malformed is not a record.
///
/// The number limits the time that a statement takes, even if hardly any record matches.
const LIST: &str = "
    with clock as materialized (
        select clock_timestamp() as now
    ),
    looked_at as materialized (
        select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome,
            created_at, completed_at, route, label
        from idempotency_records
        where id > $1 and octet_length(id) = 32 and expires_at > (select now from clock)
            and not (phase = 3 and attempt = 0)
        order by id
        limit $3
    ),
    listed as (
        select looked_at.*
        from looked_at, clock
        where ($4::smallint is null or (phase = 2) = ($4 = 2))
            and (not $5 or lease_until <= now)
            and ($6::timestamptz is null or created_at is null or created_at < $6)
            and ($7::text is null or label = $7)
            or (
                octet_length(fingerprint) = 33 and octet_length(token) = 16 and attempt >= 0
                and isfinite(expires_at)
                and (phase in (1, 3) and isfinite(lease_until) or phase = 2 and outcome is not null)
                and coalesce(isfinite(created_at), true)
                and coalesce(isfinite(completed_at), true)
            ) is not true
        order by id
        limit $2
    )
    select listed.*, goes_on_after
    from (
        select case when count(*) >= $3 then (array_agg(id order by id desc))[1] end as goes_on_after
        from looked_at
    ) as page
    left join listed on true
    order by id
";

/// How many records a statement reads.
const LISTED_AT_ONCE: usize = 1000;

/// Stores an operator's outcome, under a new token: the owner that was given up can complete nothing any more, not even
/// "again". If the statement is sent again, the new token also shows that it was done before.
const COMPLETE: &str = "
    update idempotency_records as record
    set token = $3,
        expires_at = case phase when 2 then expires_at else now + $4 * interval '1 microsecond' end,
        phase = 2,
        lease_until = null,
        outcome = $5,
        spent = null,
        completed_at = case phase when 2 then completed_at else now end
    from (select clock_timestamp() as now) as clock
    where id = $1 and expires_at > now
        and (token = $2 and phase in (1, 3) and attempt > 0 or token = $3 and phase = 2)
    returning case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

const REPLACE: &str = "
    update idempotency_records
    set outcome = $3
    where id = $1 and token = $2 and phase = 2 and expires_at > clock_timestamp()
    returning 1
";

/// [`REPLACE`], and nothing is left of the application's label.
const ERASE: &str = "
    update idempotency_records
    set outcome = $3, label = null
    where id = $1 and token = $2 and phase = 2 and expires_at > clock_timestamp()
    returning 1
";

/// Leaves a free mark of the completed run's token for this long, so that a claim or a completion by it which comes late takes
/// nothing. If it was sent before, it may find its own mark, or one that was put on it since; that counts as done and stays
/// as it is.
const FORGET: &str = "
    update idempotency_records as record
    set attempt = 0,
        expires_at = case phase when 2 then now + $3 * interval '1 microsecond' else expires_at end,
        phase = 3,
        lease_until = now,
        outcome = null,
        created_at = null,
        completed_at = null,
        route = null,
        label = null
    from (select clock_timestamp() as now) as clock
    where id = $1 and expires_at > now
        and (
            token = $2 and phase = 2
            or $4 and phase = 3 and attempt = 0 and (token = $2 or position($2 in coalesce(spent, '')) > 0)
        )
    returning case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

impl PostgresStore {
    pub(super) async fn listed(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let is_narrowed =
            request.phase.is_some() || request.created_before.is_some() || request.label.is_some();
        let mut after = request.after;
        let mut listed = Vec::new();
        loop {
            let limit = request.limit - listed.len();
            if limit == 0 {
                return Ok(listed);
            }
            let looked_at = if is_narrowed {
                LISTED_AT_ONCE
            } else {
                limit.min(LISTED_AT_ONCE)
            };
            let rows = self
                .0
                .connections
                .run(Retry::Always, || {
                    // No id is as small as no bytes, so those stand for the start.
                    query(LIST)
                        .bind(after.as_ref().map_or(&[][..], |id| id.as_bytes()))
                        .bind(records::rows(limit))
                        .bind(records::rows(looked_at))
                        .bind(request.phase.map(phase))
                        .bind(request.phase == Some(ListedPhase::Lapsed))
                        .bind(request.created_before.map(Timestamp))
                        .bind(request.label.as_deref())
                })
                .await?;
            listed.extend(rows.iter().filter_map(records::listed));
            after = records::goes_on_after(&rows).map_err(store_error)?;
            if after.is_none() {
                return Ok(listed);
            }
        }
    }

    pub(super) async fn resolved(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        match resolution {
            Resolution::Release => self.release_as(id, seen, SPENT_FOR, true).await,
            Resolution::Complete { outcome, ttl } => {
                check_length(&outcome, MAX_OUTCOME)?;
                let token = Token::random();
                let rows = self
                    .0
                    .connections
                    .run(Retry::Always, || {
                        query(COMPLETE)
                            .bind(id.as_bytes())
                            .bind(seen.as_bytes())
                            .bind(token.as_bytes())
                            .bind(microseconds(ttl))
                            .bind(outcome.as_ref())
                    })
                    .await?;
                Ok(self.ended(id, &rows))
            }
            Resolution::Replace { outcome } => self.replace(REPLACE, id, seen, &outcome).await,
            Resolution::Erase { outcome } => self.replace(ERASE, id, seen, &outcome).await,
            Resolution::Forget => {
                // What is sent again after a lost reply may find what it left itself.
                let was_sent = AtomicBool::new(false);
                let rows = self.0.connections.run(Retry::Always, || {
                    query(FORGET)
                        .bind(id.as_bytes())
                        .bind(seen.as_bytes())
                        .bind(microseconds(SPENT_FOR))
                        .bind(was_sent.swap(true, Ordering::Relaxed))
                });
                Ok(self.ended(id, &rows.await?))
            }
        }
    }

    async fn replace(
        &self,
        statement: &'static str,
        id: &RecordId,
        seen: &Token,
        outcome: &Bytes,
    ) -> Result<IfOwner<()>, StoreError> {
        check_length(outcome, MAX_OUTCOME)?;
        let rows = self
            .0
            .connections
            .run(Retry::Always, || {
                query(statement)
                    .bind(id.as_bytes())
                    .bind(seen.as_bytes())
                    .bind(outcome.as_ref())
            })
            .await?;
        Ok(fenced(&rows))
    }
}

/// The number of the phase in the table; a withdrawn record is in flight.
const fn phase(asked: ListedPhase) -> i16 {
    match asked {
        ListedPhase::InFlight | ListedPhase::Lapsed => 1,
        ListedPhase::Completed => 2,
    }
}
