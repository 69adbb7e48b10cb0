//! The secret with which keys are stored, and its file.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Output,
    thread,
};

use idempotency::{
    Fingerprint, Idempotency, IdempotencyKey, MemoryStore, Scope, SqliteDatabase, SqliteStore,
    Store,
    fingerprint::canonical_json,
    store::{IfOwner, ListRequest, Phase, Resolution},
};
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

use crate::server::{Server, UNSEEN, booking, command};

const DATABASE: &str = "core-api.db";

fn beside(directory: &TempDir) -> PathBuf {
    directory.path().join("core-api.db.secret")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The error of a start that is refused.
fn refused(directory: &Path, arguments: &[&str]) -> String {
    let listen = ["--listen", "127.0.0.1:0"];
    let output: Output = command(directory)
        .args(listen)
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    error.lines().last().unwrap().to_owned()
}

fn database(directory: &TempDir) -> Connection {
    Connection::open(directory.path().join(DATABASE)).unwrap()
}

/// The id of the key "k" of an anonymous caller, without a secret.
fn id_without_secret() -> [u8; 32] {
    let engine = Idempotency::builder(MemoryStore::new())
        .with_namespace("core-api")
        .build();
    let key = IdempotencyKey::new(&format!("k{UNSEEN}")).unwrap();
    *engine.record_id(&Scope::anonymous(), &key).as_bytes()
}

/// Replaces the only record in the file by what a version without a secret wrote for Ann's booking under the key "k".
async fn make_as_before(directory: &TempDir) {
    decrypt_the_response(directory).await;
    let body = booking("Ann").to_string();
    let form = canonical_json(body.as_bytes()).unwrap();
    let head = ["POST", "/bookings", "", "", "application/json", "", "json"].map(str::as_bytes);
    let mut asked = *Fingerprint::of(head.into_iter().chain([form.as_slice()])).as_bytes();
    asked[0] = 1;
    let key = format!("k{UNSEEN}");
    let kept = Fingerprint::of([b"fingerprint".as_slice(), b"", key.as_bytes(), &asked]);
    let mut kept = *kept.as_bytes();
    kept[0] = 2;
    let database = database(directory);
    let changed = database.execute(
        "update idempotency_records set id = ?1, fingerprint = ?2",
        (id_without_secret(), kept),
    );
    assert_eq!(changed.unwrap(), 1);
    database
        .execute_batch("drop table core_api_secret")
        .unwrap();
    fs::remove_file(beside(directory)).unwrap();
}

/// Writes the only record's response to the file unsealed.
async fn decrypt_the_response(directory: &TempDir) {
    let database = SqliteDatabase::open(directory.path().join(DATABASE)).unwrap();
    let store = SqliteStore::new(database).unwrap();
    let secret = fs::read(beside(directory)).unwrap();
    let idempotency = Idempotency::builder(store.clone())
        .with_secret(secret.trim_ascii_end())
        .build();
    let listed = idempotency
        .store()
        .list(&ListRequest::new(2))
        .await
        .unwrap();
    let [listed] = <[_; 1]>::try_from(listed).unwrap();
    let record = listed.record.unwrap();
    let Phase::Completed { outcome } = record.phase else {
        panic!("a completed record");
    };
    let replace = Resolution::Replace { outcome };
    let replaced = store.resolve(&record.id, &record.token, replace).await;
    assert_eq!(replaced.unwrap(), IfOwner::Done(()));
}

// proves: fingerprint-hides-body, guessed-key-reveals-nothing, store-sees-digests-only
#[tokio::test]
async fn the_first_start_makes_a_secret_next_to_the_database_and_the_next_one_replays_with_it() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let first = server.book("k", "Ann").await;
    assert_eq!(first.status, 201);
    server.kill();

    let secret = fs::read(beside(&directory)).unwrap();
    assert_eq!((secret.len(), mode(&beside(&directory))), (65, 0o600));
    // The draft of the secret is gone.
    let files = directory.path().read_dir().unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.contains("secret")).count(), 1);
    let ids: Vec<[u8; 32]> = database(&directory)
        .prepare("select id from idempotency_records")
        .unwrap()
        .query_map((), |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(ids.len(), 1);
    assert_ne!(ids[0], id_without_secret());

    let server = Server::start(directory.path(), &[]);
    let retry = server.book("k", "Ann").await;
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
    assert_eq!(fs::read(beside(&directory)).unwrap(), secret);
}

// proves: guessed-key-reveals-nothing
#[tokio::test]
async fn a_start_without_the_secret_of_the_database_is_refused_and_names_the_file() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let first = server.book("k", "Ann").await;
    server.kill();

    let file = fs::canonicalize(beside(&directory)).unwrap();
    let lost = directory.path().join("elsewhere");
    fs::rename(&file, &lost).unwrap();
    for arguments in [
        &[][..],
        &["--secret-file", file.to_str().unwrap()],
        // Another name leads to the same database.
        &["--database", "sqlite:./core-api.db"],
    ] {
        let error = refused(directory.path(), arguments);
        let start = format!("core-api: --secret-file {}: ", file.display());
        assert!(error.starts_with(&start), "{error}");
        assert!(error.contains("there is no such file"), "{error}");
        assert!(!file.exists(), "a secret was made that finds no key");
    }
    fs::write(&file, "x".repeat(64)).unwrap();
    let error = refused(directory.path(), &[]);
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert!(error.contains("it is not the secret"), "{error}");

    fs::rename(&lost, &file).unwrap();
    let server = Server::start(directory.path(), &[]);
    let retry = server.book("k", "Ann").await;
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
}

/// The service was killed after it had made the secret, and before it was recorded in the database.
// proves: guessed-key-reveals-nothing
#[tokio::test]
async fn a_secret_that_is_there_already_is_taken() {
    let directory = tempdir().unwrap();
    // An editor leaves a line break at the end.
    let text = format!("{}\r\n", "5e".repeat(32));
    fs::write(beside(&directory), &text).unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    assert_eq!(fs::read(beside(&directory)).unwrap(), text.as_bytes());
    fs::write(beside(&directory), text.trim_end()).unwrap();
    let server = Server::start(directory.path(), &[]);
    assert!(server.book("k", "Ann").await.is_replayed());
}

// proves: guessed-key-reveals-nothing
#[tokio::test]
async fn processes_that_start_together_agree_on_one_secret() {
    // The processes of one round may happen to start sequentially.
    for _ in 0..4 {
        let directories: Vec<_> = (0..6).map(|_| tempdir().unwrap()).collect();
        let shared = tempdir().unwrap();
        let file = shared.path().join("secret");
        let arguments = ["--secret-file", file.to_str().unwrap()];
        let servers: Vec<Server> = thread::scope(|scope| {
            let starts = directories.iter().map(|directory| {
                let directory = directory.path();
                scope.spawn(move || Server::start(directory, &arguments))
            });
            let starts: Vec<_> = starts.collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        for server in servers {
            assert_eq!(server.book("k", "Ann").await.status, 201);
            server.kill();
        }
        assert_eq!(mode(&file), 0o600);
        assert_eq!(shared.path().read_dir().unwrap().count(), 1);
        // A process with another secret would be refused now.
        for directory in &directories {
            let server = Server::start(directory.path(), &arguments);
            assert!(server.book("k", "Ann").await.is_replayed());
            assert!(!beside(directory).exists());
        }
    }
}

// proves: guessed-key-reveals-nothing
#[tokio::test]
async fn of_two_processes_that_start_with_one_database_one_is_refused_and_the_secret_stays() {
    let directory = tempdir().unwrap();
    let spawn = || {
        let mut command = command(directory.path());
        command.args(["--listen", "127.0.0.1:0"]);
        command.stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let mut children = [spawn(), spawn()];
    // The refused process ends by itself.
    let ended = loop {
        let ended = children
            .iter_mut()
            .position(|child| child.try_wait().unwrap().is_some());
        if let Some(ended) = ended {
            break ended;
        }
        thread::yield_now();
    };
    assert_eq!(children[ended].wait().unwrap().code(), Some(1));
    children[1 - ended].kill().unwrap();
    children[1 - ended].wait().unwrap();

    let server = Server::start(directory.path(), &[]);
    let first = server.book("k", "Ann").await;
    server.kill();
    let server = Server::start(directory.path(), &[]);
    let retry = server.book("k", "Ann").await;
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
}

// proves: guessed-key-reveals-nothing
#[tokio::test]
async fn a_file_that_is_no_private_secret_is_refused_or_made_private() {
    let refuse = |prepare: &dyn Fn(&Path), why: &str| {
        let directory = tempdir().unwrap();
        prepare(&beside(&directory));
        let error = refused(directory.path(), &[]);
        assert!(error.contains("core-api.db.secret: "), "{error}");
        assert!(error.contains(why), "{error}");
    };
    let good = "5e".repeat(32);
    let elsewhere = tempdir().unwrap();
    let target = elsewhere.path().join("secret");
    refuse(
        &|file| symlink(&target, file).unwrap(),
        "it is a symbolic link",
    );
    assert!(!target.exists(), "it was made through a link");
    fs::write(&target, &good).unwrap();
    refuse(
        &|file| symlink(&target, file).unwrap(),
        "it is a symbolic link",
    );
    refuse(&|file| fs::create_dir(file).unwrap(), "it is not a file");
    refuse(&|file| fs::write(file, "").unwrap(), "it has 0 bytes");
    refuse(
        &|file| fs::write(file, format!("{}\n", "x".repeat(31))).unwrap(),
        "it has 31 bytes",
    );
    refuse(
        &|file| fs::write(file, "x".repeat(5000)).unwrap(),
        "it has more than 4096 bytes",
    );

    let directory = tempdir().unwrap();
    fs::write(beside(&directory), &good).unwrap();
    fs::set_permissions(beside(&directory), Permissions::from_mode(0o644)).unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(mode(&beside(&directory)), 0o600);
    server
        .wait_for_log("other users could read or write the secret file")
        .await;
}

/// Kubernetes mounts a secret as a link to a file that every user can read.
// proves: guessed-key-reveals-nothing
#[tokio::test]
async fn a_file_that_the_operator_names_may_be_mounted() {
    let directory = tempdir().unwrap();
    let mounted = directory.path().join("data");
    fs::write(&mounted, "5e".repeat(32)).unwrap();
    fs::set_permissions(&mounted, Permissions::from_mode(0o444)).unwrap();
    symlink("data", directory.path().join("link")).unwrap();
    let variables = [("CORE_API_SECRET_FILE", "link")];
    let server = Server::start_with(directory.path(), &[], &variables);
    server
        .wait_for_log("every user of this machine can read")
        .await;
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    assert!(!beside(&directory).exists());
    assert_eq!(mode(&mounted), 0o444);
    let error = refused(directory.path(), &[]);
    assert!(
        error.contains("core-api.db.secret: there is no such file"),
        "{error}"
    );

    let dangling = directory.path().join("dangling");
    symlink("nowhere", dangling).unwrap();
    let other = tempdir().unwrap();
    let dangling = directory.path().join("dangling");
    let error = refused(other.path(), &["--secret-file", dangling.to_str().unwrap()]);
    assert!(
        error.contains("a link to a file that is not there"),
        "{error}"
    );
    assert!(!directory.path().join("nowhere").exists());
}

/// With a secret the existing keys would not be found, and their retries would run again.
// proves: guessed-key-reveals-nothing, upgrade-changes-key-derivation
#[tokio::test]
async fn a_database_with_keys_without_a_secret_keeps_them_and_gets_one_when_they_are_gone() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let first = server.book("k", "Ann").await;
    server.kill();
    make_as_before(&directory).await;

    for _ in 0..2 {
        let server = Server::start(directory.path(), &[]);
        let retry = server.book("k", "Ann").await;
        assert!(retry.is_replayed());
        server.wait_for_log("stored without a secret").await;
        assert_eq!(retry.body, first.body);
        let other = server.book("k", "Bob").await;
        assert_eq!(other.status, 422);
        let new = server.book("new", "Cid").await;
        assert_eq!(new.status, 201);
        server.kill();
        assert!(!beside(&directory).exists());
    }
    // Nor does the option hide them.
    let server = Server::start(directory.path(), &["--secret-file", "named"]);
    assert!(server.book("k", "Ann").await.is_replayed());
    server.kill();
    assert!(!directory.path().join("named").exists());

    database(&directory)
        .execute("update idempotency_records set expires_at = 1", ())
        .unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    assert!(beside(&directory).exists());
    let server = Server::start(directory.path(), &[]);
    assert!(server.book("k", "Ann").await.is_replayed());
}

/// If the keys are not where the bookings are, the secret is next to the keys.
// proves: guessed-key-reveals-nothing
#[tokio::test]
async fn the_secret_is_where_the_keys_are() {
    let directory = tempdir().unwrap();
    let arguments = ["--idempotency-store", "sqlite:keys.db"];
    let server = Server::start(directory.path(), &arguments);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    assert!(!beside(&directory).exists());
    assert!(directory.path().join("keys.db.secret").exists());
    let server = Server::start(directory.path(), &arguments);
    assert!(server.book("k", "Ann").await.is_replayed());
    server.kill();

    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    assert!(server.book("k", "Ann").await.is_replayed());
    server.kill();
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}
