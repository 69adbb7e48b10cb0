//! Many callers share one commit, and do not affect each other.

use super::*;

/// The commits in the write-ahead log: its frames that say how large the database is afterwards. Each frame is
/// a header of 24 bytes and a page; the log's own header has 32 bytes, and the size of a page in the third word.
fn commits(folder: &Folder) -> usize {
    let log = fs::read(folder.beside("-wal")).expect("a log");
    let word = |bytes: &[u8], index: usize| {
        let word = bytes[4 * index..4 * index + 4].try_into();
        u32::from_be_bytes(word.expect("four bytes"))
    };
    let page = usize::try_from(word(&log, 2)).expect("a size");
    log[32..]
        .chunks_exact(24 + page)
        // A frame from before the log was restarted has another salt.
        .take_while(|frame| (word(frame, 2), word(frame, 3)) == (word(&log, 4), word(&log, 5)))
        .filter(|frame| word(frame, 1) != 0)
        .count()
}

#[tokio::test]
async fn writes_that_come_together_share_a_commit() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let before = commits(&folder);
    for number in 0..10 {
        let write = database.write(move |connection| book(connection, &format!("alone {number}")));
        write.await.expect("a write");
    }
    assert_eq!(commits(&folder) - before, 10, "alone, each has its own");

    let before = commits(&folder);
    let go_on = hold_up(&database).await;
    let mut writes: Vec<_> = (0..200)
        .map(|number| {
            Box::pin(database.write(move |connection| book(connection, &number.to_string())))
        })
        .collect();
    for write in &mut writes {
        begin(write.as_mut()).await;
    }
    drop(go_on);
    for write in writes {
        write.await.expect("a write");
    }
    let shared = commits(&folder) - before;
    assert!((1..=5).contains(&shared), "{shared} commits for 200 writes");
    assert_eq!(database.read(booked).await.expect("a read").len(), 210);
}

#[tokio::test]
async fn a_write_returns_when_it_can_be_read() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    for number in 0..20 {
        let customer = number.to_string();
        let write = database.write(move |connection| book(connection, &customer));
        write.await.expect("a write");
        let customers = database.read(booked).await.expect("a read");
        assert_eq!(customers.len(), number + 1);
    }
}

#[tokio::test]
async fn a_failing_write_fails_no_other_write_of_its_batch() {
    let failed = fails_alone(|connection| {
        book(connection, "Bob")?;
        book(connection, "Ann")
    });
    let failed = failed.await;
    assert!(matches!(failed, SqliteStoreError::Work(_)), "{failed:?}");
}

#[tokio::test]
async fn a_panicking_write_fails_no_other_write_of_its_batch() {
    let failed = fails_alone(|connection| {
        book(connection, "Bob")?;
        assert_ne!(booked(connection)?.len(), 2, "on purpose");
        Ok(())
    });
    let failed = failed.await;
    assert!(matches!(failed, SqliteStoreError::Panicked), "{failed:?}");
}

/// The error of this write, in a transaction with two others that are committed.
async fn fails_alone(
    work: impl FnOnce(&Connection) -> Result<(), rusqlite::Error> + Send + 'static,
) -> SqliteStoreError {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let before = commits(&folder);
    let go_on = hold_up(&database).await;
    let mut first = pin!(database.write(|connection| book(connection, "Ann")));
    let mut failing = pin!(database.write(work));
    let mut last = pin!(database.write(|connection| book(connection, "Cid")));
    begin(first.as_mut()).await;
    begin(failing.as_mut()).await;
    begin(last.as_mut()).await;
    drop(go_on);
    first.await.expect("a write");
    let failed = failing.await.expect_err("it fails");
    last.await.expect("a write");
    let customers = database.read(booked).await.expect("a read");
    assert_eq!(customers, ["Ann", "Cid"]);
    assert_eq!(commits(&folder) - before, 1, "they shared a transaction");
    failed
}

#[tokio::test]
async fn a_commit_that_fails_fails_every_write_in_it_and_none_after() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let create = "create table payments (
        booking text references bookings (customer) deferrable initially deferred
    )";
    let created = database.write(move |connection| connection.execute(create, ()));
    created.await.expect("a table");
    let go_on = hold_up(&database).await;
    let mut innocent = pin!(database.write(|connection| book(connection, "Ann")));
    let mut guilty = pin!(database.write(|connection| {
        connection.execute("insert into payments (booking) values ('nobody')", ())
    }));
    begin(innocent.as_mut()).await;
    begin(guilty.as_mut()).await;
    drop(go_on);
    // SQLite checks before it commits, so this is certain.
    let lost = innocent.await.expect_err("nothing was committed");
    assert!(matches!(lost, SqliteStoreError::RolledBack(_)), "{lost:?}");
    let lost = guilty.await.expect_err("nothing was committed");
    assert!(matches!(lost, SqliteStoreError::RolledBack(_)), "{lost:?}");
    let customers = database.read(booked).await.expect("a read");
    assert!(customers.is_empty(), "{customers:?}");
    let again = database.write(|connection| book(connection, "Ann"));
    again.await.expect("a write");
}

#[tokio::test]
async fn reads_do_not_wait_for_a_write() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let write = database.write(|connection| book(connection, "Ann"));
    write.await.expect("a write");
    let go_on = hold_up(&database).await;
    let mut queued = pin!(database.write(|connection| book(connection, "Bob")));
    begin(queued.as_mut()).await;
    let customers = database.read(booked).await.expect("a read");
    assert_eq!(customers, ["Ann"]);
    drop(go_on);
    queued.await.expect("a write");
    let customers = database.read(booked).await.expect("a read");
    assert_eq!(customers, ["Ann", "Bob"]);
}

#[tokio::test]
async fn one_long_read_does_not_keep_the_others_waiting() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let (go_on, gone_on) = mpsc::channel::<()>();
    let mut long = pin!(database.read(move |_| Ok(gone_on.recv().is_err())));
    begin(long.as_mut()).await;
    for _ in 0..10 {
        database.read(booked).await.expect("a read");
    }
    drop(go_on);
    assert!(long.await.expect("a read"));
}

#[tokio::test]
async fn a_reader_cannot_write_and_does_not_stay_in_the_past() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let refused = database.read(|connection| book(connection, "Ann")).await;
    assert!(
        matches!(refused, Err(SqliteStoreError::Work(_))),
        "{refused:?}"
    );
    for number in 0..4 {
        // A transaction that the reader does not end.
        let forgetful = database.read(|connection| {
            connection.execute_batch("begin")?;
            booked(connection)
        });
        assert_eq!(forgetful.await.expect("a read").len(), number);
        let write = database.write(move |connection| book(connection, &number.to_string()));
        write.await.expect("a write");
    }
}

// proves: sqlite-write-upgrade-fails
#[tokio::test]
async fn no_other_write_comes_between_a_read_and_the_write_that_follows_it() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let path = folder.file();
    let write = database.write(move |connection| {
        let before = booked(connection)?.len();
        let tool = Connection::open(&path)?;
        tool.busy_timeout(Duration::ZERO)?;
        let intruder = book(&tool, "intruder");
        book(connection, "Ann")?;
        Ok((before, intruder))
    });
    let (before, intruder) = write.await.expect("a write");
    assert_eq!(before, 0);
    let refused = intruder.expect_err("the writer has the file");
    assert_eq!(
        refused.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy)
    );
    let customers = database.read(booked).await.expect("a read");
    assert_eq!(customers, ["Ann"]);
}

#[tokio::test]
async fn a_write_whose_caller_has_left_is_done() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let go_on = hold_up(&database).await;
    begin(pin!(database.write(|connection| book(connection, "Ann")))).await;
    drop(go_on);
    // Later calls complete later.
    database.write(|_| Ok(())).await.expect("a write");
    let customers = database.read(booked).await.expect("a read");
    assert_eq!(customers, ["Ann"]);
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_says_so() {
    let folder = Folder::new();
    let store = SqliteStore::open(folder.file()).expect("a store");
    let limit = store.database().write(|connection| {
        let pages: i64 = connection.query_row("pragma page_count", (), |row| row.get(0))?;
        let limit = format!("pragma max_page_count = {}", pages + 10);
        connection.query_row(&limit, (), |row| row.get::<_, i64>(0))
    });
    limit.await.expect("a limit");
    let owner = hold(1);
    claim(&store, &owner, &asked()).await.expect("a claim");
    let full = store.complete(&owner, vec![7; 1 << 20].into()).await;
    let full = full.expect_err("there is no room");
    assert_eq!(full.kind(), StoreErrorKind::Unavailable);
    let mut causes = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(&full);
    while let Some(error) = next {
        causes.push(error.to_string());
        next = error.source();
    }
    assert!(causes.join(": ").contains("disk is full"), "{causes:?}");
    // The hold is unchanged, and a smaller outcome fits.
    let done = store.complete(&owner, vec![7; 100].into()).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

/// The panic's payload itself panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose, again");
    }
}

#[tokio::test]
async fn what_a_panic_carries_fails_no_other_write_of_its_batch() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let go_on = hold_up(&database).await;
    let mut deadly = pin!(database.write::<()>(|_| std::panic::panic_any(Bomb)));
    let mut queued = pin!(database.write(|connection| book(connection, "Ann")));
    begin(deadly.as_mut()).await;
    begin(queued.as_mut()).await;
    drop(go_on);
    let deadly = deadly.await;
    assert!(
        matches!(deadly, Err(SqliteStoreError::Panicked)),
        "{deadly:?}"
    );
    queued.await.expect("a write");
    assert_eq!(database.read(booked).await.expect("a read"), ["Ann"]);
}
