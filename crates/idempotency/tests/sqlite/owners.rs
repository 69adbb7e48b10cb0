//! Files of other users, and files that are moved while they are open.

use std::{
    error::Error,
    io::{self, Write},
    os::unix::fs::chown,
};

use super::*;

/// The user `nobody`, who owns no files.
const NOBODY: u32 = 65_534;

/// Gives the file to another user, which only root may do. Returns whether that was done.
fn give_away(path: &Path) -> bool {
    match chown(path, Some(NOBODY), Some(NOBODY)) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mut stderr = io::stderr();
            let told = writeln!(stderr, "SKIPPED: files of other users take root to make");
            told.expect("standard error");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

fn why_refused(path: &Path) -> String {
    let refused = SqliteDatabase::open(path).expect_err("it is another user's");
    refused.source().expect("a cause").to_string()
}

#[test]
fn a_file_of_another_user_is_refused_by_root_too_and_left_as_it_was() {
    let folder = Folder::new();
    let connection = Connection::open(folder.file()).expect("a connection");
    let made = connection.execute_batch("create table bookings (customer text)");
    made.expect("a table");
    drop(connection);
    let before = fs::read(folder.file()).expect("the file");
    if !give_away(&folder.file()) {
        return;
    }
    let why = why_refused(&folder.file());
    assert!(
        why.contains("another user") && why.contains("chown"),
        "{why}"
    );
    assert_eq!(fs::read(folder.file()).expect("the file"), before);
    for suffix in ["-wal", "-shm", ".lock"] {
        assert!(!folder.beside(suffix).exists(), "keys.db{suffix}");
    }
}

#[test]
fn what_belongs_to_the_file_is_not_taken_from_another_user() {
    for suffix in ["-wal", "-shm", ".lock"] {
        let folder = Folder::new();
        drop(SqliteDatabase::open(folder.file()).expect("a database"));
        fs::write(folder.beside(suffix), "").expect("a file");
        if !give_away(&folder.beside(suffix)) {
            return;
        }
        let why = why_refused(&folder.file());
        assert!(why.contains("another user"), "keys.db{suffix}: {why}");
    }
}

/// A store that opens the file under another lock or another name would work on it concurrently.
#[tokio::test]
async fn a_file_or_a_lock_that_is_moved_while_it_is_open_ends_all_writes_to_it() {
    for suffix in ["", ".lock"] {
        for is_replaced in [false, true] {
            let folder = Folder::new();
            let database = with_bookings(&folder.file()).await;
            let store = SqliteStore::new(database.clone()).expect("a store");
            assert_eq!(claim(&store, &hold(1), &asked()).await.ok(), Some(won(1)));
            let elsewhere = folder.beside(".elsewhere");
            fs::rename(folder.beside(suffix), &elsewhere).expect("a file");
            if is_replaced {
                fs::write(folder.beside(suffix), "").expect("a file");
            }
            let refused = claim(&store, &hold(2), &asked()).await;
            let refused = refused.expect_err("another process may have the file");
            assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
            let why = refused.source().and_then(Error::source).expect("a cause");
            assert!(
                why.to_string().contains("moved, removed or replaced"),
                "{why}"
            );
            let written = database.write(|connection| book(connection, "Ann")).await;
            assert!(
                matches!(written, Err(SqliteStoreError::RolledBack(_))),
                "{written:?}"
            );
            // Once the file is back at its path, all is as before.
            fs::rename(&elsewhere, folder.beside(suffix)).expect("a file");
            assert_eq!(claim(&store, &hold(2), &asked()).await.ok(), Some(won(1)));
        }
    }
}
