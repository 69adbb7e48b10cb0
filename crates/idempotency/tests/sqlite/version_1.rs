//! A file whose tables and rows are written here as releases with version 1 wrote them.

use super::*;

const TABLES: &str = "
    create table idempotency_schema (version integer not null) strict;
    insert into idempotency_schema values (1);
    create table idempotency_clock (
        id integer primary key check (id = 1),
        wall integer not null,
        leases integer not null,
        leaps text not null,
        behind_since integer
    ) strict;
    create table idempotency_records (
        id blob not null primary key,
        fingerprint blob not null,
        token blob not null,
        attempt integer not null,
        expires_at integer not null,
        phase integer not null,
        lease_until integer,
        outcome blob,
        spent blob,
        scope integer,
        created_at integer,
        completed_at integer,
        route text,
        label text
    ) strict;
    create index idempotency_records_by_expiry on idempotency_records (expires_at);
";

/// Key, token, attempt, phase, `lease_until`, outcome, spent, label. The names of the keys are below.
const ROWS: &str = "
    insert into idempotency_records
    select column1, ?1, column2, column3, 4000000000000 + column3, column4, column5, column6, column7,
        77, 1700000000000, case column4 when 2 then 1700000000001 end, 'POST /bookings', column8
    from (values
        (?2, x'02020202020202020202020202020202', 1, 2, null, cast('booked' as blob), null, 'Ann'),
        (?3, x'03030303030303030303030303030303', 4, 1, 4000000000000, x'0708', x'09090909090909090909090909090909', null),
        (?4, x'04040404040404040404040404040404', 0, 3, 1700000000000, null, x'05050505050505050505050505050505', null),
        (?5, x'06060606060606060606060606060606', 2, 3, 1700000000000, x'0709', null, null),
        (?6, x'07070707070707070707070707070707', 1, 9, null, null, null, null),
        (?7, x'08080808080808080808080808080808', 1, 2, null, zeroblob(1000000), null, null),
        (x'010203', x'02020202020202020202020202020202', 1, 2, null, x'', null, null)
    )
";

const COMPLETED: u8 = 2;
const RUNNING: u8 = 3;
const FREE: u8 = 4;
const SUSPENDED: u8 = 5;
const UNKNOWN: u8 = 6;
const LARGE: u8 = 7;

const COLUMNS: &str = "
    select hex(id), hex(fingerprint), hex(token), attempt, expires_at, phase, lease_until, hex(outcome), hex(spent),
        scope, created_at, completed_at, route, label
    from idempotency_records where length(id) = 32 order by id
";

fn write(path: &Path) {
    let connection = Connection::open(path).expect("a connection");
    connection.execute_batch(TABLES).expect("tables");
    let asked = asked();
    let ids = [COMPLETED, RUNNING, FREE, SUSPENDED, UNKNOWN, LARGE].map(|key| vec![key; 32]);
    let values = [asked.as_bytes().to_vec()].into_iter().chain(ids);
    let written = connection.execute(ROWS, rusqlite::params_from_iter(values));
    assert_eq!(written, Ok(7));
}

fn columns(path: &Path) -> Vec<Vec<rusqlite::types::Value>> {
    let connection = Connection::open(path).expect("a connection");
    let mut columns = connection.prepare(COLUMNS).expect("a query");
    let columns = columns.query_map((), |row| (0..14).map(|column| row.get(column)).collect());
    let columns: Result<_, _> = columns.expect("rows").collect();
    columns.expect("values")
}

fn token(byte: u8) -> Token {
    Token::from_bytes([byte; 16])
}

// proves: other-version-is-error
#[tokio::test]
async fn each_column_of_each_record_is_kept_and_each_state_goes_on() {
    let folder = Folder::new();
    write(&folder.file());
    let before = columns(&folder.file());
    assert_eq!(before.len(), 6);
    drop(SqliteStore::open(folder.file()).expect("a store"));
    assert_eq!(columns(&folder.file()), before);

    let store = SqliteStore::open(folder.file()).expect("a store");
    assert!(replays(&store, COMPLETED).await);
    let running = claim(&store, &hold(RUNNING), &asked()).await;
    assert!(matches!(running, Ok(Claim::InFlight { .. })), "{running:?}");
    let owner = hold(RUNNING).with_token(token(3));
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    assert!(replays(&store, RUNNING).await);
    for spent in [4, 5] {
        let refused = claim(&store, &hold(FREE).with_token(token(spent)), &asked()).await;
        let kind = refused.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    }
    complete(&store, &hold(FREE)).await;
    let taken = claim(&store, &hold(SUSPENDED), &asked()).await;
    assert_eq!(taken.ok(), Some(Claim::won(3, Bytes::from_static(&[7, 9]))));
    let unknown = claim(&store, &hold(UNKNOWN), &asked()).await;
    let kind = unknown.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unreadable));
    let large = claim(&store, &hold(LARGE), &asked()).await;
    assert!(matches!(large, Ok(Claim::Completed { outcome, .. }) if outcome.len() == 1_000_000));
}

/// Such as by SQLite's command `.restore`, from a backup of before the upgrade. The index in memory is of another file by
/// then.
// proves: other-version-is-error, damaged-record-frees-key
#[tokio::test]
async fn a_file_of_version_1_that_replaces_an_open_one_is_an_error_for_each_key() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    complete(&store, &hold(9)).await;
    let other = Connection::open(folder.file()).expect("a connection");
    for table in ["records", "places", "schema", "clock"] {
        let drop = format!("drop table idempotency_{table}");
        other.execute_batch(&drop).expect("no table");
    }
    write(&folder.file());
    for _ in 0..2 {
        for key in [COMPLETED, FREE, 9, 10] {
            let refused = claim(&store, &hold(key), &asked()).await;
            assert!(refused.is_err(), "{key}: {refused:?}");
            let refused = store.inspect(&hold(key).id).await;
            assert!(refused.is_err(), "{key}: {refused:?}");
        }
    }
    drop((store, other));
    let store = SqliteStore::open(folder.file()).expect("a store");
    assert!(replays(&store, COMPLETED).await);
}
