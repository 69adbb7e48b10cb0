//! Which files may be opened, and by whom.

use std::error::Error;

use super::*;

#[tokio::test]
async fn what_is_completed_survives_a_restart_byte_for_byte() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let open = || {
        SqliteStore::open(folder.file())
            .expect("a store")
            .with_clock(clock.clone())
    };
    let outcome: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let store = open();
    let owner = hold(1);
    claim(&store, &owner, &asked()).await.expect("a claim");
    let completed = store.complete(&owner, outcome.clone()).await;
    let Ok(IfOwner::Done(expires_at)) = completed else {
        panic!("the owner completes, and not {completed:?}");
    };
    drop(store);

    let store = open();
    assert_eq!(
        claim(&store, &hold(1), &asked()).await.expect("a replay"),
        Claim::completed(asked(), outcome, expires_at)
    );
    // And the reply to the completion may have been lost with the process.
    let again = store.complete(&owner, Bytes::new()).await;
    assert_eq!(again.ok(), Some(IfOwner::Done(expires_at)));
}

#[tokio::test]
async fn a_hold_survives_a_restart_until_its_lease_ends() {
    let folder = Folder::new();
    let clock = Clock::manual();
    let open = || {
        SqliteStore::open(folder.file())
            .expect("a store")
            .with_clock(clock.clone())
    };
    let dead = hold(1);
    {
        let store = open();
        claim(&store, &dead, &asked()).await.expect("a claim");
        let kept = store.checkpoint(&dead, Bytes::from_static(b"charged"));
        assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    }

    let store = open();
    clock.advance(LEASE - Duration::from_millis(1));
    let fingerprint = asked();
    let early = claim(&store, &hold(1), &asked()).await;
    assert_eq!(early.ok(), Some(Claim::in_flight(fingerprint)));
    clock.advance(Duration::from_millis(1));
    let taken = claim(&store, &hold(1), &asked()).await;
    let progress = Bytes::from_static(b"charged");
    assert_eq!(taken.ok(), Some(Claim::won(2, progress)));
    let stale = store.complete(&dead, Bytes::new()).await;
    assert_eq!(stale.ok(), Some(IfOwner::NotOwner));
}

#[tokio::test]
async fn a_file_is_open_once_at_a_time() {
    let folder = Folder::new();
    let database = SqliteDatabase::open(folder.file()).expect("a database");
    let clone = database.clone();
    let refused = SqliteDatabase::open(folder.file()).expect_err("it is open");
    assert!(
        matches!(refused, SqliteStoreError::InUse { .. }),
        "{refused:?}"
    );
    let text = refused.to_string();
    assert!(text.contains("keys.db is already open"), "{text}");
    assert!(text.contains("stop the other process"), "{text}");
    // The refused attempt has not released the first one's locks.
    drop(database);
    assert!(SqliteDatabase::open(folder.file()).is_err());
    clone.write(|_| Ok(())).await.expect("a write");
    drop(clone);
    SqliteDatabase::open(folder.file()).expect("the file is free again");
}

#[cfg(unix)]
#[test]
fn a_file_is_one_file_by_whatever_name() {
    let folder = Folder::new();
    let database = SqliteDatabase::open(folder.file()).expect("a database");
    let link = folder.0.path().join("link.db");
    std::os::unix::fs::symlink(folder.file(), &link).expect("a link");
    let refused = SqliteDatabase::open(&link).expect_err("it is open");
    assert!(
        matches!(refused, SqliteStoreError::InUse { .. }),
        "{refused:?}"
    );
    drop(database);
    SqliteDatabase::open(&link).expect("the file is free again");
}

#[cfg(unix)]
#[tokio::test]
async fn only_this_user_can_read_the_file_and_its_log() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let mode = fs::metadata(folder.beside(suffix))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "keys.db{suffix}");
    }
    drop(database);
}

#[test]
fn what_is_no_file_is_refused() {
    for path in ["", ":memory:"] {
        let refused = SqliteDatabase::open(path).expect_err("no file");
        assert!(matches!(refused, SqliteStoreError::NoFile), "{refused:?}");
    }
}

#[test]
fn what_cannot_be_opened_is_refused_with_its_cause() {
    let folder = Folder::new();
    fs::write(folder.file(), "Dear diary, this is not a database at all.").expect("a file");
    for (path, cause) in [
        (
            folder.0.path().join("no/such/folder/keys.db"),
            "No such file",
        ),
        (folder.0.path().to_owned(), "directory"),
        (folder.file(), "not a database"),
    ] {
        let refused = SqliteDatabase::open(&path).expect_err("it cannot be opened");
        assert!(
            matches!(refused, SqliteStoreError::Open { .. }),
            "{refused:?}"
        );
        let name = path.display().to_string();
        assert!(refused.to_string().contains(&name), "{refused}");
        let source = refused.source().expect("a cause").to_string();
        assert!(source.contains(cause), "{source}");
    }
    let left = fs::read_to_string(folder.file()).expect("the file");
    assert!(left.starts_with("Dear diary"), "it is left alone");
}

// proves: other-version-is-error
#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let folder = Folder::new();
    drop(SqliteStore::open(folder.file()).expect("a store"));
    let newer = "update idempotency_schema set version = 3";
    let connection = Connection::open(folder.file()).expect("a connection");
    assert_eq!(connection.execute(newer, ()), Ok(1));
    drop(connection);
    let refused = SqliteStore::open(folder.file()).expect_err("it is newer");
    assert!(
        matches!(
            refused,
            SqliteStoreError::NewerSchema { found: 3, known: 2 }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn dropping_the_last_handle_finishes_what_is_queued_and_closes_the_file() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    let go_on = hold_up(&database).await;
    for number in 0..300 {
        let write = database.write(move |connection| book(connection, &number.to_string()));
        begin(pin!(write)).await;
    }
    drop(go_on);
    drop(database);
    // The next opener has no log to read. The task of `hold_up` has ended; otherwise this would be refused.
    let reopened = loop {
        match SqliteDatabase::open(folder.file()) {
            Err(SqliteStoreError::InUse { .. }) => tokio::task::yield_now().await,
            other => break other.expect("the file is free"),
        }
    };
    let customers = reopened.read(booked).await.expect("a read");
    assert_eq!(customers.len(), 300);
    drop(reopened);
    assert!(!folder.beside("-wal").exists(), "the log is in the file");
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;

    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_with_two_names_is_refused() {
    let folder = Folder::new();
    drop(with_bookings(&folder.file()).await);
    let second = folder.0.path().join("second.db");
    fs::hard_link(folder.file(), &second).expect("a link");
    for name in [folder.file(), second.clone()] {
        let refused = SqliteDatabase::open(&name).expect_err("two could have it open");
        let text = refused.source().expect("a cause").to_string();
        assert!(text.contains("more than one name"), "{text}");
    }
    fs::remove_file(&second).expect("a file");
    SqliteDatabase::open(folder.file()).expect("one name is left");
}

#[cfg(unix)]
#[tokio::test]
async fn an_existing_file_is_made_private() {
    let folder = Folder::new();
    let database = with_bookings(&folder.file()).await;
    // As after a crash: the log stays.
    let kept: Vec<_> = ["", "-wal", "-shm"]
        .map(|suffix| (suffix, fs::read(folder.beside(suffix)).expect("a file")))
        .into();
    drop(database);
    for (suffix, bytes) in kept {
        fs::write(folder.beside(suffix), bytes).expect("a file");
        set_mode(&folder.beside(suffix), 0o666);
    }
    set_mode(&folder.beside(".lock"), 0o644);
    let database = SqliteDatabase::open(folder.file()).expect("a database");
    assert!(database.read(booked).await.expect("a read").is_empty());
    for suffix in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&folder.beside(suffix)), 0o600, "keys.db{suffix}");
    }
}

#[cfg(unix)]
#[test]
fn links_in_the_place_of_what_belongs_to_the_file_are_refused() {
    for suffix in [".lock", "-wal", "-shm"] {
        let folder = Folder::new();
        let target = folder.0.path().join("target");
        std::os::unix::fs::symlink(&target, folder.beside(suffix)).expect("a link");
        let refused = SqliteDatabase::open(folder.file()).expect_err("it leads elsewhere");
        let text = refused.source().expect("a cause").to_string();
        assert!(text.contains("symbolic link"), "{text}");
        assert!(!target.exists(), "keys.db{suffix}");
    }
}
