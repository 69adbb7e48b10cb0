-- The tables of PostgresStore, version 1. Running this again changes nothing.

create table if not exists idempotency_schema (
    version integer primary key
);

create table if not exists idempotency_records (
    id bytea primary key,
    fingerprint bytea not null,
    token bytea not null,
    attempt integer not null,
    expires_at timestamptz not null,
    -- 1 in flight, 2 completed, 3 withdrawn: the token is spent, and the earlier attempts have lapsed; with attempt 0 the key is free
    phase smallint not null,
    -- only while it is in flight or withdrawn
    lease_until timestamptz,
    -- the run's progress while it is in flight, and its outcome once it is completed
    outcome bytea,
    -- whether a waiter has asked for a notification of its end
    awaited boolean not null default false,
    -- the other spent tokens, 16 bytes each, the latest first
    spent bytea,
    -- when its first attempt claimed the key, or its transaction wrote it
    created_at timestamptz,
    -- when its run was completed
    completed_at timestamptz,
    -- by which an operator finds it: the method and the route's template, and the application's own label
    route text,
    label text
);

-- Earlier releases had fewer columns, and ignore the others. Adding them locks the whole table for a moment, and gives
-- up after a second, because every claim waits meanwhile.
do $$
begin
    if (
        select count(*)
        from pg_attribute
        where attrelid = 'idempotency_records'::regclass and not attisdropped
            and attname in ('spent', 'created_at', 'completed_at', 'route', 'label')
    ) < 5 then
        set local lock_timeout = '1s';
        alter table idempotency_records
            add column if not exists spent bytea,
            add column if not exists created_at timestamptz,
            add column if not exists completed_at timestamptz,
            add column if not exists route text,
            add column if not exists label text;
    end if;
end
$$;

-- mark: distinguishes these tables from those of another database. The first releases had none, and ignore it.
do $$
begin
    if not exists (
        select from pg_attribute
        where attrelid = 'idempotency_schema'::regclass and attname = 'mark' and not attisdropped
    ) then
        set local lock_timeout = '1s';
        alter table idempotency_schema
            add column if not exists mark text not null default concat_ws('-', random(), random(), random());
    end if;
end
$$;

create index if not exists idempotency_records_by_expiry on idempotency_records (expires_at);

insert into idempotency_schema (version) values (1) on conflict do nothing;
