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
    -- 1 in flight, 2 completed, 3 withdrawn: the token is spent, and the attempts that stand have lapsed; none with 0
    phase smallint not null,
    -- while it is in flight or withdrawn
    lease_until timestamptz,
    -- what the run has left: so far while it is in flight, in the end once it is completed
    outcome bytea,
    -- whether somebody wants to be notified of its end
    awaited boolean not null default false,
    -- the other tokens that are spent, 16 bytes each, the latest first
    spent bytea,
    -- when its first attempt claimed the key, or its transaction wrote it
    created_at timestamptz,
    -- when its run was completed
    completed_at timestamptz,
    -- what an operator finds it by: the method and the route's template, and a label of the application's own
    route text,
    label text
);

-- Earlier releases had fewer columns, and leave the others alone. Adding them takes the whole table for a moment, and gives up after
-- a second, because every claim waits meanwhile.
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

-- mark: tells these tables from those of another database. The first releases had none, and leave it alone.
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
