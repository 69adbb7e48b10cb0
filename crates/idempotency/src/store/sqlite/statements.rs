//! The statements of the store on its records.

pub(super) const FIND: &str = "
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
        created_at, completed_at, route, label, place
    from idempotency_records
    where place = ?1
";

pub(super) const INSERT: &str = "
    insert into idempotency_records
        (place, id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
         created_at, completed_at, route, label)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
";

// Of the record with the same id. A later attempt does not change what the first one set.
pub(super) const OVERWRITE: &str = "
    update idempotency_records set
        fingerprint = ?3,
        token = ?4,
        attempt = ?5,
        expires_at = ?6,
        phase = ?7,
        lease_until = ?8,
        outcome = ?9,
        spent = ?10,
        scope = ?11,
        created_at = case when ?5 > 1 then created_at else ?12 end,
        completed_at = ?13,
        route = case when ?5 > 1 then route else ?14 end,
        label = case when ?5 > 1 then label else ?15 end
    where place = ?1 and id = ?2
";

pub(super) const FREE: &str = "
    update idempotency_records
    set token = ?3, attempt = 0, expires_at = ?4, phase = ?5, lease_until = ?6, outcome = null, spent = ?7,
        created_at = null, completed_at = null, route = null, label = null
    where place = ?1 and id = ?2
";

pub(super) const WITHDRAW: &str = "
    update idempotency_records
    set token = ?3, attempt = ?4, expires_at = ?5, phase = ?6, lease_until = ?7
    where place = ?1 and id = ?2
";

pub(super) const SPEND: &str =
    "update idempotency_records set spent = ?3 where place = ?1 and id = ?2";

pub(super) const RENEW: &str = "
    update idempotency_records
    set expires_at = ?3, lease_until = ?4
    where place = ?1 and id = ?2
";

pub(super) const CHECKPOINT: &str =
    "update idempotency_records set outcome = ?3 where place = ?1 and id = ?2";

pub(super) const KEEP: &str = "
    update idempotency_records
    set token = ?3, expires_at = ?4, phase = ?5, lease_until = null, outcome = ?6, spent = null, completed_at = ?7
    where place = ?1 and id = ?2
";

pub(super) const REPLACE: &str =
    "update idempotency_records set outcome = ?3 where place = ?1 and id = ?2";

pub(super) const ERASE: &str =
    "update idempotency_records set outcome = ?3, label = null where place = ?1 and id = ?2";

pub(super) const PURGE: &str = "
    delete from idempotency_records
    where place in (
        select place from idempotency_records where expires_at <= ?1 order by expires_at limit ?2
    )
    returning scope, attempt, length(outcome), place, id
";

// The length of a blob is known without reading its pages.
pub(super) const COUNT: &str = "select scope, attempt, length(outcome) from idempotency_records";
