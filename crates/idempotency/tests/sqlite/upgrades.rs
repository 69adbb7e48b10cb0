//! Files with tables of version 1, which have an index of the ids.

use super::*;

/// Key 1 is in flight, and the others up to this one are completed.
const LAST: u8 = 40;

/// A file of version 2 with these keys, and the hold of the first.
async fn file(folder: &Folder) -> Hold {
    let store = SqliteStore::open(folder.file()).expect("a store");
    let running = hold(1);
    assert_eq!(claim(&store, &running, &asked()).await.ok(), Some(won(1)));
    for key in 2..=LAST {
        complete(&store, &hold(key)).await;
    }
    running
}

/// That each key is as it was, before and after a further start, and that new ones are found.
async fn assert_kept(folder: &Folder, running: &Hold) {
    for _ in 0..2 {
        let store = SqliteStore::open(folder.file()).expect("a store");
        for key in 2..=LAST {
            assert!(replays(&store, key).await, "{key}");
        }
        let other = claim(&store, &hold(1), &asked()).await;
        assert!(matches!(other, Ok(Claim::InFlight { .. })), "{other:?}");
        assert_eq!(
            store.verify().await.verdict(),
            idempotency::store::Verdict::Ok
        );
    }
    let store = SqliteStore::open(folder.file()).expect("a store");
    let done = store.complete(running, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    complete(&store, &hold(LAST + 1)).await;
    for key in 1..=LAST + 1 {
        assert!(replays(&store, key).await, "{key}");
    }
    drop(store);
    let connection = Connection::open(folder.file()).expect("a connection");
    let number = |query: &str| connection.query_row(query, (), |row| row.get::<_, i64>(0));
    assert_eq!(number("select version from idempotency_schema"), Ok(2));
    let left = "select count(*) from sqlite_schema where name like '%records_1'";
    assert_eq!(number(left), Ok(0));
}

// proves: other-version-is-error
#[tokio::test]
async fn a_file_of_version_1_keeps_its_records_and_then_refuses_that_version() {
    let folder = Folder::new();
    let running = file(&folder).await;
    drop(earlier_file(&folder.file(), &[]));
    assert_kept(&folder, &running).await;
}

/// Each is the file that a process leaves behind that dies at that moment: the old table is there, and the new one has
/// none of its records, some of them, all, all with some or all of their places, or all with their places known to be complete.
// proves: damaged-record-frees-key
#[tokio::test]
async fn an_upgrade_that_was_killed_goes_on_at_the_next_start() {
    let none = "delete from idempotency_records; delete from idempotency_places";
    let some = "delete from idempotency_records where place > 17; delete from idempotency_places";
    let all = "delete from idempotency_places";
    let some_places = "delete from idempotency_places where start = x'' or start > x'10'";
    let placed = "delete from idempotency_places where start = x''";
    for moment in [none, some, all, some_places, placed, ""] {
        let folder = Folder::new();
        let running = file(&folder).await;
        let connection = Connection::open(folder.file()).expect("a connection");
        let before = format!(
            "
            create table idempotency_records_1 (
                id blob not null primary key, fingerprint blob not null, token blob not null, attempt integer not null,
                expires_at integer not null, phase integer not null, lease_until integer, outcome blob, spent blob,
                scope integer, created_at integer, completed_at integer, route text, label text
            ) strict;
            insert into idempotency_records_1
                select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, spent, scope,
                    created_at, completed_at, route, label
                from idempotency_records order by place;
            insert into idempotency_places select substr(id, 1, 8), place from idempotency_records;
            insert into idempotency_places select x'', max(place) from idempotency_records;
            {moment}"
        );
        connection.execute_batch(&before).expect(moment);
        drop(connection);
        assert_kept(&folder, &running).await;
    }
}

/// Neither what does not work anyway, nor what names the table, hinders the upgrade or is changed by it.
// proves: other-version-is-error
#[tokio::test]
async fn an_upgrade_leaves_the_views_and_triggers_of_the_application_as_they_are() {
    let folder = Folder::new();
    let running = file(&folder).await;
    let connection = earlier_file(&folder.file(), &[]);
    let own = "
        create view broken as select * from no_such_table;
        create view keys as select count(*) as number from idempotency_records;
        create table noted (number integer) strict;
        create table guests (name text) strict;
        create trigger note after insert on guests begin
            insert into noted select count(*) from idempotency_records;
        end;
    ";
    connection.execute_batch(own).expect("a view");
    drop(connection);
    assert_kept(&folder, &running).await;
    let connection = Connection::open(folder.file()).expect("a connection");
    let guest = connection.execute("insert into guests values ('Ann')", ());
    assert_eq!(guest, Ok(1));
    let number = |query: &str| connection.query_row(query, (), |row| row.get::<_, u32>(0));
    let expected = number("select count(*) from idempotency_records").expect("a number");
    assert!(expected > LAST.into());
    for query in ["select number from keys", "select number from noted"] {
        assert_eq!(number(query), Ok(expected), "{query}");
    }
}
