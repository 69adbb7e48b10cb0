//! What an upgrade would destroy, so that it does not begin.

use rusqlite::{Connection, OptionalExtension};

use super::Failure;

pub(super) const NO_COPY: &str = "an upgrade of its tables was interrupted, and then something else has written to \
    idempotency_records, which has other records than idempotency_records_1 now; restore the file from a copy";

/// What the application has made on the table. It would go with the old one, or refer to it.
const FIND: &str = "
    select 'the ' || type || ' ' || name from sqlite_schema
    where type in ('index', 'trigger') and sql is not null
        and tbl_name = 'idempotency_records' collate nocase
        and name <> 'idempotency_records_by_expiry'
    union all
    select 'a foreign key of the table ' || tables.name
    from sqlite_schema as tables, pragma_foreign_key_list(tables.name) as keys
    where tables.type = 'table' and keys.\"table\" = 'idempotency_records' collate nocase
    limit 1
";

pub(super) fn check(connection: &Connection) -> Result<(), Failure> {
    let found: Option<String> = connection
        .query_row(FIND, (), |row| row.get(0))
        .optional()?;
    let Some(found) = found else { return Ok(()) };
    Err(format!(
        "its tables are of an earlier version, and {found} refers to idempotency_records, which an upgrade makes anew; \
         remove it, and start again: the file is as it was",
    )
    .into())
}
