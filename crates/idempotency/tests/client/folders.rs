//! Where intents are, and what disks do.

use std::{
    fs::{self, File, FileTimes},
    io,
    sync::Arc,
    time::{Duration, SystemTime},
};

use idempotency::client::{IntentError, IntentFolder, SendError};
use tokio::sync::Notify;

use crate::{
    client, intents, open,
    script::{Script, Step, reply, status},
};

/// A new folder in its place would give each intent a new key.
// proves: client-loses-no-folder
#[tokio::test]
async fn a_folder_that_is_missing_is_not_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("intents");
    let opened = IntentFolder::open(&path).await;
    let is_missing =
        |opened: &Result<IntentFolder, _>| matches!(opened, Err(IntentError::NoFolder { .. }));
    assert!(is_missing(&opened), "{opened:?}");
    assert!(!path.exists());
    // The place where its disk would be mounted.
    fs::create_dir(&path).expect("a folder");
    let opened = IntentFolder::open(&path).await;
    assert!(is_missing(&opened), "{opened:?}");

    IntentFolder::create(&path).await.expect("a new folder");
    IntentFolder::open(&path).await.expect("a folder");
    let again = IntentFolder::create(&path).await;
    let Err(IntentError::Io { source, .. }) = again else {
        panic!("{again:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::AlreadyExists);
    let nowhere = IntentFolder::create(folder.path().join("no/parent")).await;
    assert!(
        matches!(nowhere, Err(IntentError::Io { .. })),
        "{nowhere:?}"
    );
}

// proves: client-loses-no-folder
#[tokio::test]
async fn nothing_is_begun_in_a_folder_that_was_replaced_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    let opened = open(&folder).await;
    let begun = opened.intent("order-17");
    let sent = client().send(&begun, client().post(&script.url)).await;
    sent.expect("a response");
    let path = folder.path().join("intents");
    fs::rename(&path, folder.path().join("unmounted")).expect("it moves");
    open(&folder).await;
    for intent in [&begun, &opened.intent("order-18")] {
        let sent = client().send(intent, client().post(&script.url)).await;
        let is_refused = matches!(sent, Err(SendError::Intent(IntentError::NoFolder { .. })));
        assert!(is_refused, "{sent:?}");
        // Neither may the application believe that this was kept.
        for ended in [intent.finish().await, intent.forget().await] {
            let is_refused = matches!(ended, Err(IntentError::NoFolder { .. }));
            assert!(is_refused, "{ended:?}");
        }
    }
    assert_eq!(script.arrived().len(), 1);
    assert!(intents(&folder).is_empty());
}

// proves: client-sweeps-left-overs
#[tokio::test]
async fn what_dead_processes_have_left_is_removed_and_what_is_new_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    open(&folder).await;
    let path = folder.path().join("intents");
    let old = SystemTime::now() - Duration::from_secs(2 * 3600);
    let [old_file, new_file] = ["old.tmp", "new.tmp"].map(|name| {
        fs::write(path.join(name), "half").expect("a file");
        path.join(name)
    });
    let old_folder = path.join("intent.tmp");
    fs::create_dir(&old_folder).expect("a folder");
    fs::write(old_folder.join("intent.json"), "{").expect("a file");
    for path in [&old_file, &old_folder] {
        let file = File::open(path).expect("it is there");
        let times = FileTimes::new().set_modified(old);
        file.set_times(times).expect("a time");
    }
    open(&folder).await;
    assert!(!old_file.exists() && !old_folder.exists());
    assert!(new_file.exists());
}

fn expiring(date: &str) -> Step {
    let expires = [
        ("Date", "Thu, 01 Jan 1998 00:00:00 GMT"),
        ("Idempotency-Expires", date),
    ];
    reply("201 Created", &expires, "")
}

/// The response is there, and a full disk must not take it.
// proves: client-outlives-its-disk
#[tokio::test]
async fn a_response_reaches_the_application_although_the_disk_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let go_on = Arc::new(Notify::new());
    let day = "Fri, 02 Jan 1998 00:00:00 GMT";
    let late = Step::Late(Arc::clone(&go_on), expiring(day).into());
    let script = Script::start([expiring(day), late]).await;
    let intent = open(&folder).await.intent("order-17");
    let client = client();
    let send = || client.send(&intent, client.post(&script.url));
    send().await.expect("a response");
    let entries = fs::read_dir(&intents(&folder)[0]).expect("a folder");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    let expiry = paths.find(|path| path.to_string_lossy().contains("expiry"));
    let expiry = expiry.expect("what the response has told");
    let (sent, ()) = tokio::join!(send(), async {
        script.arrivals(2).await;
        // No file can be written there now.
        fs::remove_file(&expiry).expect("it is removed");
        fs::create_dir_all(expiry.join("in the way")).expect("a folder");
        go_on.notify_one();
    });
    assert_eq!(sent.expect("a response").status(), 201);
    assert_eq!(intents(&folder).len(), 1);
    let left = fs::read_dir(folder.path().join("intents")).expect("a folder");
    let left = left.map(|entry| entry.expect("an entry").file_name());
    assert!(
        !left
            .into_iter()
            .any(|name| name.to_string_lossy().ends_with("tmp"))
    );
}

// proves: client-outlives-its-disk, client-gives-up-in-time
#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_does_not_respond_does_not_outlast_the_deadline() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    let intent = open(&folder).await.intent("order-17");
    let client = client();
    let sent = client.send(&intent, client.post(&script.url)).await;
    sent.expect("a response");
    let path = intents(&folder)[0].join("intent.json");
    fs::remove_file(&path).expect("it is removed");
    // Opening it waits for one that writes.
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo").success());
    let client = client.with_deadline(Duration::from_millis(100));
    let sending = client.send(&intent, client.post(&script.url));
    let sent = tokio::time::timeout(Duration::from_secs(30), sending).await;
    // The runtime waits for its threads.
    drop(File::options().write(true).open(&path));
    let Err(SendError::Intent(IntentError::Io { source, .. })) = sent.expect("in time") else {
        panic!("it is sent");
    };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    assert_eq!(script.arrived().len(), 1);
}

/// It may be that of another key, which another process has begun meanwhile.
// proves: client-forgets-when-told
#[tokio::test]
async fn an_intent_that_cannot_be_read_is_not_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    let intent = open(&folder).await.intent("order-17");
    let sent = client().send(&intent, client().post(&script.url)).await;
    sent.expect("a response");
    let file = intents(&folder)[0].join("intent.json");
    // A disk that fails is not at hand; a folder in the file's place cannot be read either.
    fs::remove_file(&file).expect("a file");
    fs::create_dir(&file).expect("a folder");
    let forgotten = intent.forget().await;
    assert!(
        matches!(forgotten, Err(IntentError::Io { .. })),
        "{forgotten:?}"
    );
    assert!(file.exists());
}
