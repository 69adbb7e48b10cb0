//! A full disk, which SQLite detects at the commit: only then does it write to its log.

use std::{
    env,
    fs::File,
    io::{self, Write},
    process::Command,
};

use axum::{
    Extension, Router, extract::State, http::StatusCode, response::Response, routing::post,
};
use idempotency::{CommitError, Execution, Idempotency, MemoryStore, idempotent};

use super::{
    outages::{book_once, send},
    *,
};

/// The path of the small disk, in the process where it is mounted.
const DISK: &str = "IDEMPOTENCY_TEST_SMALL_DISK";

/// The shell's exit status where it may not mount a disk.
const NO_DISK: i32 = 96;

/// The private disk on which this test runs. Otherwise the test runs again in a process that has one.
pub(crate) fn small_disk(test: &str, megabytes: u32) -> Option<PathBuf> {
    let disk = env::var_os(DISK).map(PathBuf::from);
    if disk.is_none() && !runs_on_a_small_disk(test, megabytes) {
        let told = b"\n*** SKIPPED: the test of a full disk did not run: no user namespaces\n";
        drop(io::stderr().write_all(told));
    }
    disk
}

/// Fills the disk, until the file that this makes is removed.
pub(crate) fn fill(disk: &Path) -> PathBuf {
    let rest = disk.join("rest");
    let mut file = File::create(&rest).expect("a file");
    let full = loop {
        if let Err(error) = file.write_all(&[0; 512]) {
            break error;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    rest
}

/// Runs this test again, on a private disk of so many megabytes. Returns whether that was possible.
fn runs_on_a_small_disk(test: &str, megabytes: u32) -> bool {
    let folder = Folder::new();
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m tmpfs \"${DISK}\" || exit {NO_DISK}; exec \"$@\""
    );
    let again = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &script,
            "sh",
        ])
        .arg(env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture"])
        .env(DISK, folder.0.path())
        .output();
    let Ok(again) = again else { return false };
    let told = [again.stdout, again.stderr].map(|told| String::from_utf8_lossy(&told).into_owned());
    if again.status.code() == Some(NO_DISK) || told[1].starts_with("unshare:") {
        return false;
    }
    assert!(again.status.success(), "{}{}", told[0], told[1]);
    assert!(told[0].contains("1 passed"), "{}", told[0]);
    true
}

#[idempotent]
async fn leased(
    State(database): State<SqliteDatabase>,
    execution: Execution,
    customer: String,
) -> Result<Response, CommitError> {
    let insert = database.transaction(move |connection| book(connection, &customer));
    execution.commit(insert, StatusCode::CREATED).await
}

// proves: deaf-store-left-quickly
#[tokio::test]
async fn on_a_full_disk_nothing_is_done_and_clients_learn_it() {
    let test = "full::on_a_full_disk_nothing_is_done_and_clients_learn_it";
    let Some(disk) = small_disk(test, 2) else {
        return;
    };
    let path = disk.join("keys.db");
    let database = with_bookings(&path).await;
    let store = SqliteStore::new(database.clone()).expect("a store");
    let services = [
        ("transactional", Idempotency::new(store), post(book_once)),
        ("leased", Idempotency::new(MemoryStore::new()), post(leased)),
    ];
    let mut customers = 0;
    for (mode, idempotency, handler) in services {
        let service = Router::new()
            .route("/", handler)
            .layer(Extension(idempotency))
            .with_state(database.clone());
        let (status, body) = send(
            &service,
            &format!("{mode}-before"),
            "before".to_owned() + mode,
        )
        .await;
        assert_eq!(status, StatusCode::CREATED, "{mode}: {body}");
        let rest = fill(&disk);

        let keys: Vec<_> = (0..8).map(|number| format!("{mode}-{number}")).collect();
        let requests = keys.iter().map(|key| send(&service, key, key.clone()));
        for (status, body) in futures_util::future::join_all(requests).await {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{mode}: {body}");
            assert!(body.contains("commit_failed"), "{mode}: {body}");
        }
        fs::remove_file(&rest).expect("room again");
        for key in &keys {
            let (status, body) = send(&service, key, key.clone()).await;
            assert_eq!(status, StatusCode::CREATED, "{mode}: {body}");
        }
        customers += 9;
        let booked = database.read(booked).await.expect("a read");
        assert_eq!(booked.len(), customers, "{mode}");
    }
}
