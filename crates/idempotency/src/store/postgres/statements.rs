//! The statements; each is one atomic step of the protocol.
//!
//! A statement reads the server's clock once, so that everything it compares and writes is consistent. `now()` would
//! not do, because it stands still within a transaction.
//!
//! A claim waits for its row for only a quarter of a second: a session that has locked the row is in the middle of a
//! step on the key. A claim with a lease of zero asks what becomes of such a step, and waits for it like the other
//! statements. The server reads the limit when a wait begins, so a statement can set it for itself; the setting ends
//! with the transaction.

/// The identity of the table that a statement writes to: the mark of its database's tables, and the object ids of
/// database and table, which are new in a copy of a database.
///
/// The path of a table's file ends with the ids of its database and of the file, and costs the server less than its list of databases, which is
/// read where a table has no file of its own. The file's id does not count, because a rewritten table has another file.
macro_rules! identity {
    () => {
        "(
            (select mark from idempotency_schema order by version limit 1)
            || '/' || coalesce(
                reverse(split_part(reverse(pg_relation_filepath('idempotency_schema'::regclass)), '/', 2)),
                (select oid::text from pg_database where datname = current_database())
            )
            || '/' || 'idempotency_records'::regclass::oid
        )"
    };
}

/// The table that the store's own statements write to.
pub(super) const FIND_IDENTITY: &str = concat!("select ", identity!());

/// Whether there are tables that could be the store's, and the transaction's role may write the record. It never fails, so a
/// transaction can continue without them.
pub(super) const ARE_THERE: &str = "
    select (
        coalesce(
            has_table_privilege(to_regclass('idempotency_records'), 'select')
            and has_table_privilege(to_regclass('idempotency_records'), 'insert')
            and has_table_privilege(to_regclass('idempotency_records'), 'update')
            and has_table_privilege(to_regclass('idempotency_schema'), 'select'),
            false
        )
        and exists (
            select from pg_attribute
            where attrelid = to_regclass('idempotency_schema') and attname = 'mark' and not attisdropped
        )
    )::text as result
";

/// Fails within a savepoint, however it was created.
pub(super) const IS_OUTERMOST: &str = "select pg_export_snapshot() as result";

/// Takes an unused key, or returns its record; in both cases one row. There is no row only if another claim takes the
/// key between the two: then the next read finds the record.
///
/// A record that is found is not locked, and nothing is written, as `on conflict do update` would do.
pub(super) const CLAIM: &str = "
    with clock as materialized (
        select clock_timestamp() as now,
            set_config('lock_timeout', case when $4 > 0 then '250ms' else '3s' end, true)
    ),
    found as materialized (
        select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, awaited, spent
        from idempotency_records
        where id = $1
    ),
    taken as (
        insert into idempotency_records
            (id, fingerprint, token, attempt, expires_at, phase, lease_until, created_at, route, label)
        select $1, $2, $3, 1,
            now + ($4 + $5) * interval '1 microsecond', 1, now + $4 * interval '1 microsecond', now, $6, $7
        from clock
        where not exists (select from found)
        on conflict (id) do nothing
        returning id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, awaited, spent
    )
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome,
        expires_at <= now as expired, coalesce(lease_until <= now, false) as lapsed, awaited, spent
    from (select * from found union all select * from taken) as record, clock
";

/// Takes a key whose record has expired or is a free mark, or whose hold has lapsed and has an equal fingerprint. In
/// the last case the progress, the time when the key was first claimed, and the labels stay. Waiters of such a hold
/// keep waiting. A spent token takes nothing.
///
/// The spent tokens are stored one after another. They are random, so no other token is found across two of them.
pub(super) const TAKE_OVER: &str = "
    update idempotency_records as record
    set fingerprint = $2,
        token = $3,
        attempt = case when expires_at <= now then 1 else attempt + 1 end,
        expires_at = now + ($4 + $5) * interval '1 microsecond',
        phase = 1,
        lease_until = now + $4 * interval '1 microsecond',
        outcome = case when attempt > 0 and expires_at > now then outcome end,
        spent = case
            when expires_at <= now then null
            when phase = 3 then substring(token || coalesce(spent, '') from 1 for 8 * 16)
            else spent
        end,
        awaited = awaited and attempt > 0 and expires_at > now,
        created_at = case when attempt > 0 and expires_at > now then created_at else now end,
        completed_at = null,
        route = case when attempt > 0 and expires_at > now then route else $7 end,
        label = case when attempt > 0 and expires_at > now then label else $8 end
    from (
        select clock_timestamp() as now,
            set_config('lock_timeout', case when $4 > 0 then '250ms' else '3s' end, true)
    ) as clock
    where id = $1
        and (
            expires_at <= now
            or token <> $3 and position($3 in coalesce(spent, '')) = 0 and (
                phase = 3 and attempt = 0
                or $6 and phase in (1, 3) and lease_until <= now and fingerprint = $2
            )
        )
    returning attempt, outcome
";

/// Undoes what a claim by this token took, or will find when it arrives. If no attempt remains, a free mark is left. If
/// an earlier attempt remains, its hold is left, lapsed. Another owner's run is not changed, and this token is added to
/// its spent tokens, which are stored one after another, the latest first, up to eight.
///
/// The row to insert carries the clock: its lease ends now, and it expires when the mark does.
pub(super) const WITHDRAW: &str = "
    insert into idempotency_records as record
        (id, fingerprint, token, attempt, expires_at, phase, lease_until)
    select $1, $2, $3, 0, now + ($4 + $5) * interval '1 microsecond', 3, now
    from (select clock_timestamp() as now) as clock
    on conflict (id) do update
    set (
        fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent,
        created_at, completed_at, route, label
    ) = (
        select
            case when is_free then excluded.fingerprint else record.fingerprint end,
            case when is_free or is_own then excluded.token else record.token end,
            case when is_free then 0 when is_own then greatest(record.attempt - 1, 1) else record.attempt end,
            case
                when is_expired or is_free and is_own and record.spent is null then excluded.expires_at
                when is_free then greatest(record.expires_at, excluded.expires_at)
                when is_own then excluded.lease_until + $5 * interval '1 microsecond'
                else record.expires_at
            end,
            case when is_free or is_own then 3 else record.phase end,
            case when is_free or is_own then excluded.lease_until else record.lease_until end,
            case when not is_free then record.outcome end,
            case
                when is_expired then null
                when is_own then record.spent
                when is_free then substring(record.token || coalesce(record.spent, '') from 1 for 8 * 16)
                else substring(excluded.token || coalesce(record.spent, '') from 1 for 8 * 16)
            end,
            case when not is_free then record.created_at end,
            null::timestamptz,
            case when not is_free then record.route end,
            case when not is_free then record.label end
        from (
            select record.token = excluded.token as is_own,
                record.expires_at <= excluded.lease_until as is_expired,
                record.expires_at <= excluded.lease_until
                or record.attempt = 0
                or record.token = excluded.token and record.attempt = 1 and coalesce(record.outcome, '') = ''
                as is_free
        ) as found
    )
    where record.expires_at <= excluded.lease_until
        or record.phase = 1 and record.token = excluded.token
        or record.phase in (1, 3) and record.token <> excluded.token
            and position(excluded.token in coalesce(record.spent, '')) = 0
    returning case when awaited and token = $3 then pg_notify('idempotency', encode(id, 'hex')) end
";

/// Asks for a notification of the hold's end; returns no row if it has already ended.
pub(super) const AWAIT: &str = "
    update idempotency_records
    set awaited = true
    from (select set_config('lock_timeout', '250ms', true)) as clock
    where id = $1 and token = $2 and phase in (1, 3) and attempt > 0
    returning 1
";

pub(super) const RENEW: &str = "
    update idempotency_records as record
    set expires_at = now + ($3 + $4) * interval '1 microsecond',
        lease_until = now + $3 * interval '1 microsecond'
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase = 1 and expires_at > now
    returning 1
";

/// Stores progress that is at least as long as the stored progress.
pub(super) const CHECKPOINT: &str = "
    update idempotency_records as record
    set outcome = case when octet_length($3::bytea) >= coalesce(octet_length(outcome), 0) then $3 else outcome end
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase = 1 and expires_at > now
    returning 1
";

/// Ends a hold so that the next claim takes over at once, and stores its progress like [`CHECKPOINT`]. If this owner
/// has already suspended it, nothing changes.
pub(super) const SUSPEND: &str = "
    update idempotency_records as record
    set expires_at = case phase when 1 then now + $3 * interval '1 microsecond' else expires_at end,
        phase = 3,
        lease_until = case phase when 1 then now else lease_until end,
        outcome = case
            when phase = 1 and octet_length($4::bytea) >= coalesce(octet_length(outcome), 0) then $4
            else outcome
        end
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase in (1, 3) and attempt > 0 and expires_at > now
    returning case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

/// Stores an outcome. If this owner has already stored one, nothing changes.
pub(super) const COMPLETE: &str = "
    update idempotency_records as record
    set expires_at = case phase when 1 then now + $3 * interval '1 microsecond' else expires_at end,
        phase = 2,
        lease_until = null,
        outcome = case phase when 1 then $4 else outcome end,
        spent = null,
        completed_at = case phase when 1 then now else completed_at end
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase in (1, 2) and expires_at > now
    returning expires_at, case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

/// [`COMPLETE`] within the application's transaction. It always returns one row with one text, which every client can
/// read: whether that transaction is known to be open; whether it is in the database and schema of the store's table,
/// without which nothing is written; and when the outcome expires, in microseconds, if the hold is this owner's.
///
/// Unlike there, a record that this owner has completed is not its own any more: an earlier transaction of the same run
/// has done so, and what this one has written must not be committed too.
///
/// It waits at most three seconds for another transaction, and so does the commit that follows. After a time-out the
/// client learns that nothing was done.
///
/// If no transaction is open, this statement is a transaction of its own, which has no number before it writes. An open
/// transaction that has written has a number. If an open one has not written, the caller has to know that it is open. A
/// snapshot cannot be exported within a savepoint, so if the client does not know the depth, that shows whether the
/// transaction is the outermost one.
pub(super) const COMPLETE_WITHIN: &str = concat!(
    "
    with block as materialized (
        select $5 or txid_current_if_assigned() is not null as is_open,
            coalesce(",
    identity!(),
    " = $6, false) as is_here,
            case when $7 then pg_export_snapshot() end as exported,
            set_config('lock_timeout', '3s', true)
    ),
    completed as (
        update idempotency_records as record
        set expires_at = now + $3 * interval '1 microsecond',
            phase = 2,
            lease_until = null,
            outcome = $4,
            spent = null,
            completed_at = now
        from (select clock_timestamp() as now) as clock, block
        where is_open and is_here and id = $1 and token = $2 and phase = 1 and expires_at > now
        returning expires_at, case when awaited then pg_notify('idempotency', encode(id, 'hex')) end as told
    )
    select concat_ws(' ', is_open, is_here, (extract(epoch from expires_at) * 1000000)::bigint) as result
    from block left join completed on true
"
);

/// Writes a completed record within the transaction whose effects it stands for, unless there is a record already; a
/// free mark of other tokens does not count as one. It waits for a transaction that has written the same key until that
/// has ended. It returns the same row as [`COMPLETE_WITHIN`].
pub(super) const LEAVE: &str = concat!(
    "
    with block as materialized (
        select $6 or txid_current_if_assigned() is not null as is_open,
            coalesce(",
    identity!(),
    " = $7, false) as is_here,
            case when $8 then pg_export_snapshot() end as exported,
            set_config('lock_timeout', '3s', true)
    ),
    completed as (
        insert into idempotency_records as record
            (id, fingerprint, token, attempt, expires_at, phase, outcome, created_at, completed_at, route, label)
        select $1, $5, $2, 1, now + $3 * interval '1 microsecond', 2, $4, now, now, $9, $10
        from (select clock_timestamp() as now) as clock, block
        where is_open and is_here
        on conflict (id) do update
        set fingerprint = excluded.fingerprint,
            token = excluded.token,
            attempt = excluded.attempt,
            expires_at = excluded.expires_at,
            phase = excluded.phase,
            lease_until = null,
            outcome = excluded.outcome,
            spent = null,
            created_at = excluded.created_at,
            completed_at = excluded.completed_at,
            route = excluded.route,
            label = excluded.label
        where record.expires_at <= clock_timestamp()
            or record.phase = 3 and record.attempt = 0 and record.token <> $2
                and position($2 in coalesce(record.spent, '')) = 0
        returning expires_at
    )
    select concat_ws(' ', is_open, is_here, (extract(epoch from expires_at) * 1000000)::bigint) as result
    from block left join completed on true
"
);

/// Leaves a free mark of the owner's token for this long: of a hold or, for an operator, also of a withdrawn attempt.
/// If the statement was sent before, it may find its own mark, or a later one; that counts as done and stays as it is.
pub(super) const RELEASE: &str = "
    update idempotency_records as record
    set attempt = 0,
        expires_at = case
            when attempt = 0 then expires_at
            when spent is null then now + $3 * interval '1 microsecond'
            else greatest(expires_at, now + $3 * interval '1 microsecond')
        end,
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
            token = $2 and (phase = 1 or phase = 3 and attempt > 0 and $4)
            or $5 and phase = 3 and attempt = 0 and (token = $2 or position($2 in coalesce(spent, '')) > 0)
        )
    returning case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

/// Skips rows that another session has locked: a claim that takes the record, or another sweep.
///
/// The ids are an array, and not joined: a join may be planned so that it reads the whole table by the ids' index.
pub(super) const PURGE: &str = "
    delete from idempotency_records
    where id = any(array(
        select id
        from idempotency_records
        where expires_at <= (select clock_timestamp())
        order by expires_at
        limit $1
        for update skip locked
    ))
    returning 1
";
