//! The statements of the store, on one table.

pub(super) const FIND: &str = "
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
        created_at, completed_at, route, label
    from idempotency_records
    where id = ?1
";

// A later attempt does not change what the first one set.
pub(super) const TAKE: &str = "
    insert into idempotency_records
        (id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope, created_at, route, label)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    on conflict (id) do update set
        fingerprint = excluded.fingerprint,
        token = excluded.token,
        attempt = excluded.attempt,
        expires_at = excluded.expires_at,
        phase = excluded.phase,
        lease_until = excluded.lease_until,
        outcome = excluded.outcome,
        spent = excluded.spent,
        scope = excluded.scope,
        created_at = case when excluded.attempt > 1 then created_at else excluded.created_at end,
        completed_at = null,
        route = case when excluded.attempt > 1 then route else excluded.route end,
        label = case when excluded.attempt > 1 then label else excluded.label end
";

pub(super) const LEAVE: &str = "
    insert or replace into idempotency_records
        (id, fingerprint, token, attempt, expires_at, phase, outcome, scope, created_at, completed_at, route, label)
    values (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10)
";

pub(super) const FREE: &str = "
    update idempotency_records
    set token = ?2, attempt = 0, expires_at = ?3, phase = ?4, lease_until = ?5, outcome = null, spent = ?6,
        created_at = null, completed_at = null, route = null, label = null
    where id = ?1
";

pub(super) const WITHDRAW: &str = "
    update idempotency_records
    set token = ?2, attempt = ?3, expires_at = ?4, phase = ?5, lease_until = ?6
    where id = ?1
";

pub(super) const SPEND: &str = "update idempotency_records set spent = ?2 where id = ?1";

pub(super) const RENEW: &str = "
    update idempotency_records
    set expires_at = ?2, lease_until = ?3
    where id = ?1
";

pub(super) const CHECKPOINT: &str = "update idempotency_records set outcome = ?2 where id = ?1";

pub(super) const KEEP: &str = "
    update idempotency_records
    set token = ?2, expires_at = ?3, phase = ?4, lease_until = null, outcome = ?5, spent = null, completed_at = ?6
    where id = ?1
";

pub(super) const REPLACE: &str = "update idempotency_records set outcome = ?2 where id = ?1";

pub(super) const ERASE: &str =
    "update idempotency_records set outcome = ?2, label = null where id = ?1";

// A free key is not listed, although its record holds spent tokens.
pub(super) const LIST: &str = "
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
        created_at, completed_at, route, label
    from idempotency_records
    where id > ?1 and length(id) = 32 and expires_at > ?2 and not (phase = 3 and attempt = 0)
    order by id
    limit ?3
";

pub(super) const PURGE: &str = "
    delete from idempotency_records
    where rowid in (
        select rowid from idempotency_records where expires_at <= ?1 order by expires_at limit ?2
    )
    returning scope, attempt, length(outcome)
";

// The length of a blob is known without reading its pages.
pub(super) const COUNT: &str = "select scope, attempt, length(outcome) from idempotency_records";
