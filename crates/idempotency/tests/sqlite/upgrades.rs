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
    let triggers =
        "select count(*) from sqlite_schema where type = 'trigger' and name like 'idempotency_%'";
    assert_eq!(number(triggers), Ok(3));
}

// proves: other-version-is-error
#[tokio::test]
async fn a_file_of_version_1_keeps_its_records_and_then_refuses_that_version() {
    let folder = Folder::new();
    let running = file(&folder).await;
    drop(earlier_file(&folder.file(), &[]));
    assert_kept(&folder, &running).await;
}

/// A file as it is just before an upgrade ends.
const UNFINISHED: &str = "
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
";

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
    let no_triggers =
        "drop trigger idempotency_records_added; drop trigger idempotency_records_moved";
    for moment in [none, some, all, some_places, placed, no_triggers, ""] {
        let folder = Folder::new();
        let running = file(&folder).await;
        let connection = Connection::open(folder.file()).expect("a connection");
        connection.execute_batch(UNFINISHED).expect("an old table");
        connection.execute_batch(moment).expect(moment);
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

/// A text of the file's rows leaves out the places of the old table, so that SQLite gives new ones.
// proves: damaged-record-frees-key
#[tokio::test]
async fn an_unfinished_upgrade_whose_old_rows_have_other_places_now_loses_none() {
    let apart = "update idempotency_records set place = -place; update idempotency_records set place = place * -2";
    for (moment, places) in [
        ("delete from idempotency_records where place > 40", ""),
        ("", ""),
        ("", "delete from idempotency_places"),
    ] {
        let folder = Folder::new();
        let running = file(&folder).await;
        let connection = Connection::open(folder.file()).expect("a connection");
        for statement in [UNFINISHED, apart, moment, places] {
            connection.execute_batch(statement).expect(statement);
        }
        drop(connection);
        assert_kept(&folder, &running).await;
        let connection = Connection::open(folder.file()).expect("a connection");
        let twice = "select count(*) - count(distinct id) from idempotency_records";
        let twice = connection.query_row(twice, (), |row| row.get::<_, u8>(0));
        assert_eq!(twice, Ok(0));
    }
}

// proves: damaged-record-frees-key
#[tokio::test]
async fn an_unfinished_upgrade_whose_new_table_has_records_of_its_own_is_refused() {
    for change in [
        "update idempotency_records set id = randomblob(32) where place = 7",
        "update idempotency_records set token = randomblob(16) where place = 7; delete from idempotency_records where place = 8",
    ] {
        let folder = Folder::new();
        file(&folder).await;
        let connection = Connection::open(folder.file()).expect("a connection");
        connection.execute_batch(UNFINISHED).expect("an old table");
        connection.execute_batch(change).expect(change);
        let ids = |table: &str| -> Vec<Vec<u8>> {
            let ids = format!("select id from {table} order by id");
            let mut ids = connection.prepare(&ids).expect("a query");
            let ids = ids.query_map((), |row| row.get(0)).expect("rows");
            ids.collect::<Result<_, _>>().expect("ids")
        };
        let before = [ids("idempotency_records"), ids("idempotency_records_1")];
        refused(&folder, "idempotency_records_1");
        let both = |id: &Vec<u8>| before[0].contains(id) || before[1].contains(id);
        assert!(ids("idempotency_records").iter().all(both));
        assert!(ids("idempotency_records").len() >= before[0].len());
        assert_eq!(ids("idempotency_records_1"), before[1]);
    }
}

/// They refer to the table, and would go with it, or rows of the application would.
// proves: other-version-is-error
#[tokio::test]
async fn an_upgrade_that_would_destroy_what_is_the_applications_does_not_begin() {
    let foreign = "
        create table notes (key blob references idempotency_records (id) on delete cascade) strict;
        insert into notes select id from idempotency_records";
    let trigger = "create trigger noted after insert on Idempotency_Records begin select 1; end";
    let index = "create index by_label on idempotency_records (label)";
    for (own, name, remove) in [
        (foreign, "notes", "drop table notes"),
        (trigger, "noted", "drop trigger noted"),
        (index, "by_label", "drop index by_label"),
    ] {
        let folder = Folder::new();
        let running = file(&folder).await;
        let connection = earlier_file(&folder.file(), &[]);
        connection.execute_batch(own).expect(own);
        refused(&folder, name);
        let number = |query: &str| connection.query_row(query, (), |row| row.get::<_, u8>(0));
        assert_eq!(number("select version from idempotency_schema"), Ok(1));
        assert_eq!(number("select count(*) from idempotency_records"), Ok(LAST));
        if own == foreign {
            assert_eq!(number("select count(*) from notes"), Ok(LAST));
        }
        connection.execute_batch(remove).expect(remove);
        drop(connection);
        assert_kept(&folder, &running).await;
    }
}

/// An operator who renames the old table by hand leaves such rows.
#[tokio::test]
async fn the_end_of_an_upgrade_removes_no_rows_that_refer_to_the_old_table() {
    let folder = Folder::new();
    let running = file(&folder).await;
    let connection = Connection::open(folder.file()).expect("a connection");
    connection.execute_batch(UNFINISHED).expect("an old table");
    let notes = "
        create table notes (key blob references idempotency_records_1 (id) on delete cascade) strict;
        create table orders (key blob references idempotency_records_1 (id)) strict;
        insert into notes select id from idempotency_records_1;
        insert into orders select id from idempotency_records_1;
    ";
    connection.execute_batch(notes).expect("notes");
    drop(connection);
    assert_kept(&folder, &running).await;
    let connection = Connection::open(folder.file()).expect("a connection");
    for table in ["notes", "orders"] {
        let count = format!("select count(*) from {table}");
        let count = connection.query_row(&count, (), |row| row.get::<_, u8>(0));
        assert_eq!(count, Ok(LAST), "{table}");
    }
}

/// Such as by SQLite's command `.restore`. The keys that only the old table has must not run again.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_file_of_an_unfinished_upgrade_that_replaces_an_open_one_is_an_error() {
    let folder = Folder::new();
    let running = file(&folder).await;
    let store = SqliteStore::open(folder.file()).expect("a store");
    let connection = Connection::open(folder.file()).expect("a connection");
    connection.execute_batch(UNFINISHED).expect("an old table");
    let some = "delete from idempotency_records where place > 17; delete from idempotency_places";
    connection.execute_batch(some).expect(some);
    for key in [20, LAST + 1] {
        let refused = claim(&store, &hold(key), &asked()).await;
        assert!(refused.is_err(), "{refused:?}");
        // The second has not been let through by the first.
        let refused = store.inspect(&hold(key).id).await;
        assert!(refused.is_err(), "{refused:?}");
    }
    let refused = SqliteStore::new(store.database().clone());
    assert!(refused.is_err(), "{refused:?}");
    drop((store, connection));

    // And into a file that has no store yet.
    let database = SqliteDatabase::open(folder.file()).expect("a database");
    let connection = Connection::open(folder.file()).expect("a connection");
    let no_places = "delete from idempotency_places";
    connection.execute_batch(no_places).expect(no_places);
    connection.execute_batch(UNFINISHED).expect("an old table");
    let refused = SqliteStore::new(database).expect_err("it is unfinished");
    assert!(
        matches!(refused, SqliteStoreError::Open { .. }),
        "{refused:?}"
    );
    drop(connection);
    assert_kept(&folder, &running).await;
}

fn refused(folder: &Folder, name: &str) {
    let refused = SqliteStore::open(folder.file()).expect_err("it is refused");
    assert!(
        matches!(refused, SqliteStoreError::Open { .. }),
        "{refused:?}"
    );
    let cause = std::error::Error::source(&refused).expect("a cause");
    assert!(cause.to_string().contains(name), "{cause}");
}
