//! The end of an intent: one operation under one id, whatever processes do.

use std::{sync::Arc, time::Duration};

use idempotency::client::{Intent, RetryingClient, SendError};
use tokio::sync::Notify;

use crate::{
    client, intents, open,
    script::{Script, Step, reply, status},
};

async fn send(client: &RetryingClient, intent: &Intent, script: &Script) -> Result<u16, SendError> {
    let request = client.post(&script.url).body("5 EUR");
    let sent = client.send(intent, request).await;
    sent.map(|response| response.status().as_u16())
}

fn is_finished(sent: &Result<u16, SendError>) -> bool {
    matches!(sent, Err(SendError::Finished))
}

// proves: client-finishes-once
#[tokio::test]
async fn nothing_is_sent_under_a_finished_intent() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    let of_memory = Intent::new();
    let on_disk = open(&folder).await.intent("order-17");
    for intent in [&of_memory, &on_disk] {
        assert_eq!(send(&client(), intent, &script).await.expect("sent"), 201);
        // A crash before the application's own write asks again.
        assert_eq!(send(&client(), intent, &script).await.expect("sent"), 201);
        intent.finish().await.expect("it is finished");
        intent.finish().await.expect("once more");
        assert!(is_finished(&send(&client(), intent, &script).await));
    }
    let arrived = script.arrived().len();
    let later = open(&folder).await.intent("order-17");
    assert!(is_finished(&send(&client(), &later, &script).await));
    assert_eq!(script.arrived().len(), arrived);
    // An id that is used again by mistake must not look as if its operation were done.
    let other = client().post(&script.url).body("6 EUR");
    let sent = client().send(&later, other).await;
    assert!(matches!(sent, Err(SendError::OtherRequest)), "{sent:?}");
}

/// Two processes have the id. One has its response, and finishes, while the other still tries.
// proves: client-finishes-once
#[tokio::test]
async fn another_sender_begins_no_second_operation() {
    let folder = tempfile::tempdir().expect("a folder");
    let expires = [("Idempotency-Expires", "Fri, 01 Jan 2100 00:00:00 GMT")];
    let go_on = Arc::new(Notify::new());
    let late = reply("201 Created", &expires, "");
    let late = Step::Late(Arc::clone(&go_on), late.into());
    let script = Arc::new(Script::start([late, status("201 Created")]).await);
    let slow = tokio::spawn({
        let (intent, script) = (open(&folder).await.intent("order-17"), Arc::clone(&script));
        async move { send(&client(), &intent, &script).await.map(|_| intent) }
    });
    script.arrivals(1).await;
    let fast = open(&folder).await.intent("order-17");
    send(&client(), &fast, &script).await.expect("a response");
    fast.finish().await.expect("it is finished");
    go_on.notify_one();
    let slow = slow.await.expect("no panic").expect("a response");
    // What the late response has written of the key's end leaves it finished.
    for intent in [&slow, &fast, &open(&folder).await.intent("order-17")] {
        assert!(is_finished(&send(&client(), intent, &script).await));
    }
    assert_eq!(script.keys()[0], script.keys()[1]);
    assert_eq!(script.arrived().len(), 2);
}

/// Only who asks for a new operation gets one.
// proves: client-finishes-once, client-forgets-when-told
#[tokio::test]
async fn what_another_process_has_forgotten_is_not_begun_anew_unasked() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    let intent = open(&folder).await.intent("order-17");
    send(&client(), &intent, &script).await.expect("a response");
    let other = open(&folder).await.intent("order-17");
    other.forget().await.expect("it is removed");
    assert!(is_finished(&send(&client(), &intent, &script).await));
    assert_eq!(script.arrived().len(), 1);

    send(&client(), &other, &script).await.expect("a response");
    // The first operation's end is not that of the second one.
    intent.finish().await.expect("nothing to do");
    intent.forget().await.expect("nothing to do");
    send(&client(), &other, &script).await.expect("a response");
    let keys = script.keys();
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[1], keys[2]);
}

// proves: client-finishes-once
#[tokio::test]
async fn finished_intents_are_removed_after_their_time_and_others_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    let opened = open(&folder).await;
    for (id, is_finished) in [("order-17", true), ("order-18", false)] {
        let intent = opened.intent(id);
        send(&client(), &intent, &script).await.expect("a response");
        if is_finished {
            intent.finish().await.expect("it is finished");
        }
    }
    let hour = Duration::from_secs(3600);
    assert_eq!(opened.remove_finished(hour).await.expect("a count"), 0);
    let removed = opened.remove_finished(Duration::ZERO).await;
    assert_eq!(removed.expect("a count"), 1);
    assert_eq!(intents(&folder).len(), 1);
    let intent = open(&folder).await.intent("order-18");
    send(&client(), &intent, &script).await.expect("a response");
    assert_eq!(script.keys()[1], script.keys()[2]);
}
