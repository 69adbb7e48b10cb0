//! How the store finds records whose ids no index of SQLite has.

use super::*;

/// The index has a record that the file does not have.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_record_that_vanished_from_the_file_is_an_error_and_then_absent() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    for key in [1, 2] {
        complete(&store, &hold(key)).await;
    }
    let found = store.inspect(&hold(1).id).await.expect("an inspection");
    let token = found.expect("a record").token;
    let delete = move |connection: &Connection| {
        let delete = "delete from idempotency_records where token = ?1";
        connection.execute(delete, [token.as_bytes()])
    };
    assert_eq!(store.database().write(delete).await.ok(), Some(1));
    let refused = claim(&store, &hold(1), &asked()).await;
    let kind = refused.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unavailable));
    // By then the index was read from the file again.
    assert_eq!(claim(&store, &hold(1), &asked()).await.ok(), Some(won(1)));
    assert!(replays(&store, 2).await);
}

// proves: damaged-record-frees-key
#[tokio::test]
async fn what_another_program_writes_is_noticed_by_the_next_write() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    for key in [1, 2, 3] {
        complete(&store, &hold(key)).await;
    }
    let other = Connection::open(folder.file()).expect("a connection");
    let id = |key| *hold(key).id.as_bytes();
    let delete = "delete from idempotency_records where id = ?1";
    assert_eq!(other.execute(delete, [id(1)]), Ok(1));
    let rename = "update idempotency_records set id = ?1 where id = ?2";
    assert_eq!(other.execute(rename, [id(4), id(2)]), Ok(1));
    for (key, is_there) in [(1, false), (2, false), (3, true), (4, true)] {
        let found = claim(&store, &hold(key), &asked()).await;
        assert_eq!(
            matches!(found, Ok(Claim::Completed { .. })),
            is_there,
            "{key}: {found:?}"
        );
        assert!(found.is_ok(), "{key}: {found:?}");
    }
}

/// A piece of work that fails takes its record with it, and others go on.
// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_record_that_was_rolled_back_is_absent() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let database = store.database().clone();
    let tables = "
        create table guests (id integer primary key) strict;
        create table stays (guest integer references guests (id) deferrable initially deferred) strict;
    ";
    let created = database.write(move |connection| connection.execute_batch(tables));
    created.await.expect("tables");
    let go_on = hold_up(&database).await;
    let (first, second) = (hold(1), hold(2));
    let asked = asked();
    let claims = async {
        tokio::join!(
            claim(&store, &first, &asked),
            claim(&store, &second, &asked)
        )
    };
    let broken =
        database.write(|connection| connection.execute("insert into stays values (7)", ()));
    let (mut claims, mut broken) = (pin!(claims), pin!(broken));
    begin(claims.as_mut()).await;
    begin(broken.as_mut()).await;
    drop(go_on);
    let (one, other) = claims.await;
    assert!(one.is_err() && other.is_err(), "{one:?} {other:?}");
    assert!(broken.await.is_err());
    for hold in [&first, &second] {
        assert_eq!(store.inspect(&hold.id).await.ok(), Some(None));
        assert_eq!(claim(&store, hold, &asked).await.ok(), Some(won(1)));
    }
}

/// By the store's own connection, whose writes `pragma data_version` does not report to it.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_record_that_the_application_adds_is_found_and_keeps_its_place() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    complete(&store, &hold(1)).await;
    assert_eq!(store.database().write(add(2)).await.ok(), Some(1));
    assert!(replays(&store, 2).await);

    // Before claims that wait for the same transaction.
    let go_on = hold_up(store.database()).await;
    let (other, next, asked) = (hold(4), hold(5), asked());
    let mut added = pin!(store.database().write(add(3)));
    let mut claims = pin!(async {
        tokio::join!(
            claim(&store, &other, &asked),
            claim(&store, &next, &asked),
            replays(&store, 3)
        )
    });
    begin(added.as_mut()).await;
    begin(claims.as_mut()).await;
    drop(go_on);
    assert_eq!(added.await.ok(), Some(1));
    let (won_one, won_next, is_found) = claims.await;
    assert_eq!(won_one.ok(), Some(won(1)));
    assert_eq!(won_next.ok(), Some(won(1)));
    assert!(is_found);
    for key in [1, 2, 3] {
        assert!(replays(&store, key).await, "{key}");
    }
}

/// SQLite gives the place of the last row again when that row is gone.
// proves: damaged-record-frees-key
#[tokio::test]
async fn a_record_that_the_application_adds_in_the_place_of_a_former_one_is_found() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let store = store.with_clock(clock.clone());
    complete(&store, &hold(1)).await;
    let short = Duration::from_secs(60);
    let gone = RecordId::from_bytes([2; 32]);
    complete(&store, &Hold::new(gone, Token::random(), LEASE, short)).await;
    clock.advance(2 * short);
    assert_eq!(store.purge_expired(9).await.ok(), Some(1));
    assert_eq!(store.database().write(add(3)).await.ok(), Some(1));
    assert!(replays(&store, 3).await);
    assert_eq!(claim(&store, &hold(2), &asked()).await.ok(), Some(won(1)));
    for key in [1, 3] {
        assert!(replays(&store, key).await, "{key}");
    }
}

// proves: damaged-record-frees-key
#[tokio::test]
async fn a_record_that_the_application_renames_is_found_by_its_new_id() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    complete(&store, &hold(1)).await;
    let rename = |connection: &Connection| {
        let rename = "update idempotency_records set id = ?1";
        connection.execute(rename, [hold(2).id.as_bytes()])
    };
    assert_eq!(store.database().write(rename).await.ok(), Some(1));
    assert!(replays(&store, 2).await);
    assert_eq!(claim(&store, &hold(1), &asked()).await.ok(), Some(won(1)));
}

/// Work of the application that adds a record like the first.
fn add(key: u8) -> impl FnOnce(&Connection) -> Result<usize, rusqlite::Error> + Send + 'static {
    let (from, to) = (*hold(1).id.as_bytes(), *hold(key).id.as_bytes());
    move |connection: &Connection| {
        let add = "
            insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, outcome)
            select ?2, fingerprint, token, attempt, expires_at, phase, outcome
            from idempotency_records where id = ?1
        ";
        connection.execute(add, [from, to])
    }
}
