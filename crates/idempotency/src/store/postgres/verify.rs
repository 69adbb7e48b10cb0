//! What would go wrong on this server.

use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sqlx::{PgConnection, PgPool, Row, postgres::PgRow, raw_sql};
use tokio::time::timeout;

use super::schema;
use crate::{log_text::Causes, store::Verification};

/// How long the questions may take together.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The first version on which the store is tested.
const OLDEST: i32 = 120_000;

const SETTINGS: &str = "
    select
        current_setting('server_version'),
        current_setting('server_version_num')::integer,
        pg_is_in_recovery(),
        current_setting('transaction_read_only')::boolean,
        current_setting('synchronous_commit'),
        current_setting('fsync')::boolean,
        current_setting('full_page_writes')::boolean,
        current_setting('autovacuum')::boolean,
        extract(epoch from clock_timestamp())::float8
";

/// Whether the tables are there, and which rights are missing.
const RIGHTS: &str = "
    select
        to_regclass('idempotency_records') is not null and to_regclass('idempotency_schema') is not null,
        concat_ws(
            ', ',
            case when not has_table_privilege(to_regclass('idempotency_records'), 'select') then 'select' end,
            case when not has_table_privilege(to_regclass('idempotency_records'), 'insert') then 'insert' end,
            case when not has_table_privilege(to_regclass('idempotency_records'), 'update') then 'update' end,
            case when not has_table_privilege(to_regclass('idempotency_records'), 'delete') then 'delete' end,
            case when not has_table_privilege(to_regclass('idempotency_schema'), 'select')
                then 'select on idempotency_schema' end
        )
";

/// Adds what the server says of itself. Nothing is written.
pub(super) async fn check(pool: &PgPool, verification: &mut Verification) {
    // A reply may be missing while the rest is known, so each is added as it arrives.
    let asked = async {
        // Detached, because the pool pings a connection that returns, and waits for a silent server without a time limit.
        let mut connection = pool.acquire().await?.detach();
        check_all(&mut connection, verification).await
    };
    let failed = match in_time(asked).await {
        None => "it did not respond in time".into(),
        Some(Err(error)) => Causes(&error).to_string(),
        Some(Ok(())) => return,
    };
    verification.problem(
        "reachable",
        failed,
        "check the URL, the network, the role's password, and whether connections are left",
    );
}

async fn in_time<T>(asked: impl Future<Output = T>) -> Option<T> {
    timeout(TIMEOUT, asked).await.ok()
}

async fn check_all(
    connection: &mut PgConnection,
    verification: &mut Verification,
) -> Result<(), sqlx::Error> {
    let before = SystemTime::now();
    let settings = raw_sql(SETTINGS).fetch_one(&mut *connection).await?;
    let after = SystemTime::now();
    verification.ok("reachable", "the server responded");
    check_settings(&settings, verification)?;
    let stores = Duration::try_from_secs_f64(settings.try_get(8)?).unwrap_or_default();
    verification.clock(before, UNIX_EPOCH + stores, after);
    check_schema(connection, verification).await
}

fn check_settings(settings: &PgRow, verification: &mut Verification) -> Result<(), sqlx::Error> {
    let version = format!("PostgreSQL {}", settings.try_get::<String, _>(0)?);
    if settings.try_get::<i32, _>(1)? < OLDEST {
        verification.problem("version", version, "use PostgreSQL 12 or later");
    } else {
        verification.ok("version", version);
    }
    let (is_standby, is_read_only) = (settings.try_get(2)?, settings.try_get(3)?);
    match (is_standby, is_read_only) {
        (true, _) => verification.problem(
            "role",
            "the server is a read replica",
            "name the primary in the URL, or add target_session_attrs=read-write where the client knows it",
        ),
        (false, true) => verification.problem(
            "role",
            "transactions are read-only",
            "set default_transaction_read_only to off for this role and database",
        ),
        (false, false) => verification.ok("role", "the server accepts writes"),
    }
    let commit: String = settings.try_get(4)?;
    let (fsync, full_pages): (bool, bool) = (settings.try_get(5)?, settings.try_get(6)?);
    if !fsync || !full_pages {
        let name = if fsync { "full_page_writes" } else { "fsync" };
        verification.warning(
            "durability",
            format!("{name} is off: a power loss may damage the database"),
            "set fsync and full_page_writes to on",
        );
    } else if commit == "off" {
        verification.warning(
            "durability",
            "synchronous_commit is off: a crash loses the last responses, and their requests run again",
            "set synchronous_commit to on for this role or database",
        );
    } else {
        verification.ok(
            "durability",
            format!("synchronous_commit is {commit}, fsync is on"),
        );
    }
    if settings.try_get(7)? {
        verification.ok("autovacuum", "autovacuum is on");
    } else {
        verification.warning(
            "autovacuum",
            "autovacuum is off: the room of expired keys is not reclaimed",
            "set autovacuum to on",
        );
    }
    Ok(())
}

async fn check_schema(
    connection: &mut PgConnection,
    verification: &mut Verification,
) -> Result<(), sqlx::Error> {
    const CHECK: &str = "schema";
    let rights = raw_sql(RIGHTS).fetch_one(&mut *connection).await?;
    if !rights.try_get::<bool, _>(0)? {
        verification.problem(
            CHECK,
            "the tables idempotency_records and idempotency_schema are not in the role's search path",
            "call create_schema, or execute PostgresStore::SCHEMA in a migration",
        );
        return Ok(());
    }
    let missing: String = rights.try_get(1)?;
    if !missing.is_empty() {
        verification.problem(
            "rights",
            format!("the role lacks: {missing}"),
            "grant select, insert, update and delete on idempotency_records, and select on idempotency_schema",
        );
        return Ok(());
    }
    verification.ok("rights", "the role may read and write the tables");
    let version = raw_sql(schema::FIND_VERSION)
        .fetch_one(&mut *connection)
        .await?;
    let version: Option<i32> = version.try_get(0)?;
    let lacks = raw_sql(schema::LACKS_COLUMNS)
        .fetch_one(&mut *connection)
        .await?;
    let lacks_mark = raw_sql(schema::LACKS_MARK)
        .fetch_one(&mut *connection)
        .await?;
    match version {
        Some(version) if version > schema::VERSION => verification.problem(
            CHECK,
            format!(
                "the tables have version {version}, and this program knows version {}",
                schema::VERSION
            ),
            "run the newer program, or use another database",
        ),
        Some(_) if lacks.try_get(0)? || lacks_mark.try_get(0)? => verification.problem(
            CHECK,
            "an earlier release made the tables, and columns are missing",
            "call create_schema, which adds them",
        ),
        Some(version) => verification.ok(CHECK, format!("the tables have version {version}")),
        None => verification.problem(
            CHECK,
            "the table idempotency_schema is empty",
            "call create_schema, which writes the version",
        ),
    }
    Ok(())
}
