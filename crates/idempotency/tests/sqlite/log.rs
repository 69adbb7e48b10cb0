//! SQLite's log, which the store moves into the file.

use super::{
    full::{fill, small_disk},
    *,
};

/// What a page takes in the log.
const PAGE: u64 = 24 + 4096;

/// How many pages the log has when it is moved. One write more than that may be in it.
const PART: u64 = 1000;

const PAGES_PER_WRITE: u64 = 20;

/// Adds about so many pages to the log, in several commits. The work leaves a hook of its own.
async fn write_pages(database: &SqliteDatabase, pages: u64) {
    for _ in 0..pages / PAGES_PER_WRITE {
        database.write(write_some).await.expect("a write");
    }
    // What follows a commit is done when the next work begins.
    database.write(|_| Ok(())).await.expect("a write");
}

fn write_some(connection: &Connection) -> Result<usize, rusqlite::Error> {
    connection.wal_hook(None);
    let room = 4096 * PAGES_PER_WRITE;
    let insert = format!("insert into pages values (zeroblob({room}))");
    connection.execute(&insert, ())
}

async fn with_pages(path: &Path) -> SqliteDatabase {
    let database = SqliteDatabase::open(path).expect("a database");
    let create = |connection: &Connection| {
        connection.execute("create table pages (content blob not null) strict", ())
    };
    database.write(create).await.expect("a table");
    database
}

/// How long the log was at its longest.
fn length(folder: &Folder) -> u64 {
    fs::metadata(folder.beside("-wal")).expect("a log").len()
}

/// How often the log was begun anew, by its header. <https://sqlite.org/fileformat2.html#walformat>
fn beginnings(folder: &Folder) -> u32 {
    let log = fs::read(folder.beside("-wal")).expect("a log");
    u32::from_be_bytes(log[12..16].try_into().expect("four bytes"))
}

fn rows(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.query_row("select count(*) from pages", (), |row| row.get(0))
}

// proves: sqlite-log-in-parts
#[tokio::test]
async fn the_log_is_moved_in_small_parts_whatever_hooks_the_application_sets() {
    let folder = Folder::new();
    let database = with_pages(&folder.file()).await;
    write_pages(&database, 6 * PART).await;
    let longest = (PART + 2 * PAGES_PER_WRITE) * PAGE;
    assert!(length(&folder) <= longest, "{} bytes", length(&folder));
    assert!(beginnings(&folder) >= 4);
}

/// Reads until the sender is dropped, and returns how many rows it saw at first and in the end.
async fn reader(database: &SqliteDatabase) -> (mpsc::Sender<()>, JoinHandle<(i64, i64)>) {
    let (go_on, gone_on) = mpsc::channel::<()>();
    let (started, running) = oneshot::channel();
    let database = database.clone();
    let reading = tokio::spawn(async move {
        let read = database.read(move |connection| {
            connection.execute_batch("begin")?;
            let before = rows(connection)?;
            started.send(()).expect("a test that waits");
            gone_on.recv().expect_err("a sender that is dropped");
            Ok((before, rows(connection)?))
        });
        read.await.expect("a read")
    });
    running.await.expect("a reader that sees a state");
    (go_on, reading)
}

/// A reader that stays keeps the log, and nothing is lost. When it is gone the log is moved as before.
// proves: sqlite-log-in-parts
#[tokio::test]
async fn a_reader_keeps_what_it_sees_and_the_log_is_moved_when_it_is_gone() {
    let folder = Folder::new();
    let database = with_pages(&folder.file()).await;
    write_pages(&database, PART / 2).await;
    let written = i64::try_from(PART / 2 / PAGES_PER_WRITE).expect("a small number");
    let (go_on, reading) = reader(&database).await;
    let before = beginnings(&folder);
    write_pages(&database, 3 * PART).await;
    assert_eq!(beginnings(&folder), before, "the reader needs it");
    let kept = 3 * PART * PAGE;
    assert!(length(&folder) >= kept, "{} bytes", length(&folder));

    drop(go_on);
    assert_eq!(reading.await.expect("no panic"), (written, written));
    write_pages(&database, PART + PAGES_PER_WRITE).await;
    write_pages(&database, PAGES_PER_WRITE).await;
    assert_eq!(beginnings(&folder), before + 1);
    let all = database.read(rows).await.expect("a read");
    let pages = PART / 2 + 3 * PART + PART + 2 * PAGES_PER_WRITE;
    assert_eq!(u64::try_from(all), Ok(pages / PAGES_PER_WRITE));
    drop(database);
    let file = Connection::open(folder.file()).expect("a connection");
    assert_eq!(rows(&file).expect("a count"), all);
}

/// Readers that overlap leave few moments at which nothing of it is needed.
// proves: sqlite-log-in-parts
#[tokio::test]
async fn a_long_log_is_moved_soon_after_its_reader_is_gone() {
    let folder = Folder::new();
    let database = with_pages(&folder.file()).await;
    let (go_on, reading) = reader(&database).await;
    let before = beginnings(&folder);
    write_pages(&database, 5 * PART).await;
    assert_eq!(beginnings(&folder), before, "the reader needs it");
    drop(go_on);
    reading.await.expect("no panic");
    write_pages(&database, PART / 4).await;
    assert_eq!(beginnings(&folder), before + 1);
}

/// The log has room for more commits, but the file cannot grow.
// proves: sqlite-log-in-parts
#[tokio::test]
async fn what_a_full_disk_keeps_in_the_log_is_not_lost() {
    let test = "log::what_a_full_disk_keeps_in_the_log_is_not_lost";
    let Some(disk) = small_disk(test, 32) else {
        return;
    };
    let path = disk.join("keys.db");
    let database = with_pages(&path).await;
    write_pages(&database, PART + PART / 2).await;
    let mut written = database.read(rows).await.expect("a read");
    let (before, rest) = (written, fill(&disk));
    let refused = loop {
        match database.write(write_some).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, SqliteStoreError::RolledBack(_)),
        "{refused:?}"
    );
    assert!(written > before);
    assert_eq!(database.read(rows).await.ok(), Some(written));
    fs::remove_file(rest).expect("room again");
    write_pages(&database, PART).await;
    written += i64::try_from(PART / PAGES_PER_WRITE).expect("a small number");
    drop(database);
    let file = Connection::open(path).expect("a connection");
    assert_eq!(rows(&file).ok(), Some(written));
}
