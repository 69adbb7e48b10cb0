//! Intents on disk.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use idempotency::{
    IdempotencyKey,
    client::{Intent, IntentError, RetryingClient, SendError},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    sync::{Barrier, Notify},
    task::JoinSet,
};

use crate::{
    client, intents, open,
    script::{Script, Step, reply, status},
};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn files(folder: &TempDir) -> Vec<String> {
    let paths = intents(folder).into_iter();
    paths
        .map(|path| fs::read_to_string(path.join("intent.json")).expect("text"))
        .collect()
}

fn quoted(key: &Value) -> String {
    format!("\"{}\"", key.as_str().expect("a key"))
}

/// Sends until the request has arrived, and leaves.
async fn send_and_leave(client: &RetryingClient, intent: &Intent, script: &Script) {
    let count = script.arrived().len() + 1;
    let request = client.post(&script.url).body("5 EUR");
    tokio::select! {
        sent = client.send(intent, request) => panic!("{sent:?}"),
        () = script.arrivals(count) => {}
    }
}

// proves: client-keeps-intent-on-disk
#[tokio::test]
async fn a_later_process_finds_the_key_of_an_earlier_one() {
    let folder = folder();
    let script = Script::start([Step::Hang, status("201 Created")]).await;
    // The future is dropped, so nothing that it would do afterwards happens.
    send_and_leave(&client(), &open(&folder).await.intent("order-17"), &script).await;

    let intent = open(&folder).await.intent("order-17");
    for _ in 0..2 {
        let request = client().post(&script.url).body("5 EUR");
        let sent = client().send(&intent, request).await;
        assert_eq!(sent.expect("a response").status(), 201);
    }
    let other = open(&folder).await.intent("order-18");
    let request = client().post(&script.url).body("5 EUR");
    client().send(&other, request).await.expect("a response");

    let keys = script.keys();
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0], keys[2]);
    assert_ne!(keys[0], keys[3]);
}

// proves: client-keeps-intent-on-disk
#[tokio::test]
async fn the_key_is_on_disk_before_it_is_sent() {
    let folder = folder();
    let script = Script::start([Step::Hang]).await;
    let intent = open(&folder).await.intent("order-17");
    assert!(files(&folder).is_empty());
    send_and_leave(&client(), &intent, &script).await;
    let files = files(&folder);
    let [file] = &files[..] else {
        panic!("{files:?}");
    };
    let written: Value = serde_json::from_str(file).expect("JSON");
    assert_eq!(quoted(&written["key"]), script.keys()[0]);
    assert_eq!(written["intent"], "order-17");
}

// proves: client-keeps-intent-on-disk
#[tokio::test]
async fn an_intent_that_cannot_be_written_is_not_sent() {
    let folder = folder();
    let script = Script::start([status("201 Created")]).await;
    let intent = open(&folder).await.intent("order-17");
    let path = folder.path().join("intents");
    fs::remove_dir_all(&path).expect("it is removed");
    let sent = client().send(&intent, client().post(&script.url)).await;
    assert!(
        matches!(sent, Err(SendError::Intent(IntentError::NoFolder { .. }))),
        "{sent:?}"
    );
    assert!(script.arrived().is_empty());
}

/// Another key for the same intent could let the operation happen twice.
// proves: client-keeps-intent-on-disk
#[tokio::test]
async fn a_file_that_cannot_be_read_is_neither_sent_nor_overwritten() {
    let folder = folder();
    let script = Script::start([Step::Hang, status("201 Created")]).await;
    let intent = open(&folder).await.intent("order-17");
    send_and_leave(&client(), &intent, &script).await;
    let path = only_path(&folder);
    let sound = fs::read_to_string(&path).expect("text");
    let newer = sound.replace(r#""version": 1"#, r#""version": 2"#);
    let others = sound.replace("order-17", "order-18");
    assert!(sound != newer && sound != others);
    for text in [&sound[..sound.len() / 2], "", &newer, &others] {
        fs::write(&path, text).expect("a file");
        let request = client().post(&script.url).body("5 EUR");
        let sent = client().send(&intent, request).await;
        let is_refused = matches!(sent, Err(SendError::Intent(IntentError::Unreadable { .. })));
        assert!(is_refused, "{text}: {sent:?}");
        assert_eq!(fs::read_to_string(&path).expect("text"), text);
    }
    assert_eq!(script.arrived().len(), 1);
}

fn only_path(folder: &TempDir) -> PathBuf {
    let intents = intents(folder);
    assert_eq!(intents.len(), 1);
    intents[0].join("intent.json")
}

// proves: client-keeps-intent-on-disk
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_begin_an_intent_together_have_one_key() {
    let folder = folder();
    open(&folder).await;
    let script = Arc::new(Script::start([status("201 Created")]).await);
    for round in 0..20 {
        let together = Arc::new(Barrier::new(4));
        let mut processes = JoinSet::new();
        for _ in 0..4 {
            let (intents, script) = (open(&folder).await, Arc::clone(&script));
            let together = Arc::clone(&together);
            processes.spawn(async move {
                let intent = intents.intent(&format!("order-{round}"));
                let client = client();
                together.wait().await;
                client.send(&intent, client.post(&script.url)).await
            });
        }
        for sent in processes.join_all().await {
            sent.expect("a response");
        }
        let keys = script.keys().split_off(4 * round);
        assert_eq!(keys.len(), 4);
        assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }
    assert_eq!(files(&folder).len(), 20);
}

// proves: client-forgets-when-told
#[tokio::test]
async fn a_forgotten_intent_is_a_new_operation() {
    let folder = folder();
    let script = Script::start([status("201 Created")]).await;
    let intent = open(&folder).await.intent("order-17");
    let client = client();
    let send = || client.send(&intent, client.post(&script.url).body("5 EUR"));
    intent.forget().await.expect("nothing to remove");
    send().await.expect("a response");
    // A crash between the response and the application's own write asks again.
    send().await.expect("a response");
    intent.forget().await.expect("it is removed");
    assert!(files(&folder).is_empty());
    send().await.expect("a response");
    let keys = script.keys();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
}

/// What it says of the first operation's key says nothing of the second one's.
// proves: client-forgets-when-told, client-keeps-intent-on-disk
#[tokio::test]
async fn a_late_response_leaves_an_intent_that_was_begun_anew() {
    let folder = folder();
    let expires = [("Idempotency-Expires", "Fri, 01 Jan 2100 00:00:00 GMT")];
    let go_on = Arc::new(Notify::new());
    let late = Step::Late(
        Arc::clone(&go_on),
        reply("201 Created", &expires, "").into(),
    );
    let script = Script::start([late, Step::Hang]).await;
    let opened = open(&folder).await;
    let first = tokio::spawn({
        let (client, intent) = (client(), opened.intent("order-17"));
        let request = client.post(&script.url).body("5 EUR");
        async move { client.send(&intent, request).await }
    });
    script.arrivals(1).await;
    let intent = opened.intent("order-17");
    intent.forget().await.expect("it is removed");
    send_and_leave(&client(), &intent, &script).await;
    go_on.notify_one();
    first.await.expect("no panic").expect("a response");
    let files = files(&folder);
    let written: Value = serde_json::from_str(&files[0]).expect("JSON");
    assert_eq!(quoted(&written["key"]), script.keys()[1]);
    assert_eq!(files.len(), 1);
}

// proves: client-refuses-other-request
#[tokio::test]
async fn another_request_under_an_intent_is_not_sent() {
    let folder = folder();
    let script = Script::start([status("201 Created")]).await;
    let on_disk = open(&folder).await.intent("order-17");
    let of_application = IdempotencyKey::new("order-17").expect("a key");
    let of_application = Intent::with_key(of_application, std::time::SystemTime::now());
    let json = |url: &str, body: &str| {
        let request = client().post(url).body(body.to_owned());
        request.header("Content-Type", "application/json")
    };
    for intent in [Intent::new(), on_disk, of_application] {
        let before = script.arrived().len();
        let first = json(&script.url, r#"{"a":1,"b":2}"#);
        client().send(&intent, first).await.expect("a response");
        let text = client().post(&script.url).body(r#"{"a":1,"b":2}"#);
        let put = client().request(reqwest::Method::PUT, &script.url);
        let put = put.body(r#"{"a":1,"b":2}"#);
        for other in [
            json(&script.url, r#"{"a":1,"b":3}"#),
            json(&format!("{}?c=3", script.url), r#"{"a":1,"b":2}"#),
            text,
            put.header("Content-Type", "application/json"),
        ] {
            let sent = client().send(&intent, other).await;
            assert!(matches!(sent, Err(SendError::OtherRequest)), "{sent:?}");
        }
        assert_eq!(script.arrived().len(), before + 1);
        // The service compares JSON by value, and does not see the token.
        let same = json(&script.url, r#"{ "b": 2, "a": 1.0 }"#).bearer_auth("new");
        client().send(&intent, same).await.expect("a response");
    }
}

/// Under another tenant the key would be another one, and the operation would happen once for each.
// proves: client-refuses-other-request
#[tokio::test]
async fn the_request_of_another_tenant_is_not_sent_under_an_intent() {
    let folder = folder();
    let script = Script::start([status("201 Created")]).await;
    let client = client().with_compared_header("x-shop".parse().expect("a name"));
    for (name, is_compared) in [
        ("X-Tenant-Id", true),
        ("Stripe-Account", true),
        ("Host", true),
        ("X-Shop", true),
        ("X-Account-Token", false),
        ("Authorization", false),
        ("Traceparent", false),
    ] {
        let send = async |value: &str| {
            // As another process.
            let intent = open(&folder).await.intent(name);
            let request = client.post(&script.url).header(name, value);
            client.send(&intent, request).await
        };
        send("a").await.expect("a response");
        send("a").await.expect("a response");
        let sent = send("b").await;
        let is_refused = matches!(sent, Err(SendError::OtherRequest));
        assert_eq!(is_refused, is_compared, "{name}: {sent:?}");
    }
}

#[tokio::test]
async fn each_id_is_an_intent_of_its_own_and_stays_in_the_folder() {
    let folder = folder();
    let script = Script::start([status("201 Created")]).await;
    let long = "x".repeat(5000);
    let ids = [
        "a",
        "A",
        "",
        "..",
        "../a",
        "/etc/passwd",
        "a\0b",
        "ä\n",
        &long,
    ];
    for id in ids {
        let intent = open(&folder).await.intent(id);
        client()
            .send(&intent, client().post(&script.url))
            .await
            .expect("a response");
    }
    let mut keys = script.keys();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), ids.len());
    assert_eq!(files(&folder).len(), ids.len());
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

// proves: client-hides-secrets
#[tokio::test]
async fn a_file_has_no_secret_but_the_key_and_others_cannot_read_it() {
    let folder = folder();
    let script = Script::start([status("201 Created")]).await;
    let intent = open(&folder).await.intent("order-17");
    let url = format!("{}?token=hidden-in-query", script.url);
    let request = client()
        .post(url)
        .bearer_auth("hidden-token")
        .body("hidden-body");
    client().send(&intent, request).await.expect("a response");
    let files = files(&folder);
    assert!(!files[0].contains("hidden"), "{files:?}");
    #[cfg(unix)]
    {
        let path = only_path(&folder);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().expect("a folder")), 0o700);
        assert_eq!(mode(&folder.path().join("intents")), 0o700);
    }
    let key = script.keys()[0].replace('"', "");
    let shown = format!("{intent:?} {:?}", Intent::new());
    assert!(!shown.contains(&key), "{shown}");
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).expect("it exists");
    metadata.permissions().mode() & 0o777
}
