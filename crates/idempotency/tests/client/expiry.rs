//! A key that the service may have forgotten would let the operation happen once more.

use std::time::Duration;

use idempotency::{
    Clock, IdempotencyKey,
    client::{Intent, RetryingClient, SendError},
};

use crate::{
    client, open,
    script::{Script, Step, reply, status},
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// The service remembers its keys for a day, and an attempt takes at most ten seconds.
pub(crate) fn client_at(clock: &Clock) -> RetryingClient {
    client()
        .with_clock(clock.clone())
        .with_ttl(24 * HOUR)
        .with_attempt_timeout(10 * SECOND)
}

pub(crate) async fn is_sent(client: &RetryingClient, intent: &Intent, script: &Script) -> bool {
    let before = script.arrived().len();
    let sent = client.send(intent, client.post(&script.url)).await;
    let has_arrived = script.arrived().len() > before;
    match sent {
        Ok(_) => assert!(has_arrived),
        Err(SendError::Expired) => assert!(!has_arrived),
        Err(error) => panic!("{error:?}"),
    }
    has_arrived
}

// proves: client-refuses-expired-intent
#[tokio::test]
async fn an_intent_older_than_the_ttl_is_not_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let intents = open(&folder).await;
    let key = |text| IdempotencyKey::new(text).expect("a key");
    let script = Script::start([status("201 Created")]).await;
    let clock = Clock::manual();
    let client = client_at(&clock);
    let chosen_at = clock.wall();
    for (intent, margin) in [
        (Intent::new(), Duration::ZERO),
        (intents.intent("order-17"), Duration::ZERO),
        // When it was chosen, only the wall clock says.
        (Intent::with_key(key("order-17"), chosen_at), 300 * SECOND),
    ] {
        let clock = Clock::manual();
        let client = client_at(&clock);
        assert!(is_sent(&client, &intent, &script).await);
        clock.advance(24 * HOUR - 11 * SECOND - margin);
        assert!(is_sent(&client, &intent, &script).await);
        // An attempt could now arrive too late.
        clock.advance(SECOND);
        assert!(!is_sent(&client, &intent, &script).await);
        clock.advance(1000 * HOUR);
        assert!(!is_sent(&client, &intent, &script).await);
    }
    // It was chosen by an earlier process, which may have sent it.
    clock.advance(24 * HOUR);
    let of_earlier = Intent::with_key(key("order-18"), chosen_at);
    assert!(!is_sent(&client, &of_earlier, &script).await);
    // It has never been sent.
    assert!(is_sent(&client, &intents.intent("order-18"), &script).await);
}

/// Services differ, and one that forgets sooner would do it twice.
// proves: client-refuses-expired-intent
#[tokio::test]
async fn without_a_ttl_an_intent_is_sent_again_for_less_than_an_hour() {
    let script = Script::start([status("201 Created")]).await;
    let clock = Clock::manual();
    let client = client().with_clock(clock.clone());
    let intent = Intent::new();
    for (minutes, expected) in [(59, true), (1, false)] {
        is_sent(&client, &intent, &script).await;
        clock.advance(minutes * 60 * SECOND);
        assert_eq!(is_sent(&client, &intent, &script).await, expected);
    }
}

// proves: client-refuses-expired-intent
#[tokio::test]
async fn the_expiry_that_a_response_has_told_goes_before_the_ttl() {
    let folder = tempfile::tempdir().expect("a folder");
    let intents = open(&folder).await;
    let date = ("Date", "Thu, 01 Jan 1998 00:00:00 GMT");
    for (expires, age, hours) in [
        ("Thu, 01 Jan 1998 01:00:00 GMT", "0", 1),
        ("Sun, 04 Jan 1998 00:00:00 GMT", "0", 72),
        ("Thu, 01 Jan 1998 03:00:00 GMT", "3600", 2),
    ] {
        let fields = [date, ("Age", age), ("Idempotency-Expires", expires)];
        for intent in [Intent::new(), intents.intent(expires)] {
            let first = reply("201 Created", &fields, "");
            let script = Script::start([first, status("201 Created")]).await;
            let clock = Clock::manual();
            let client = client_at(&clock);
            assert!(is_sent(&client, &intent, &script).await);
            // The dates have no fractions of a second.
            clock.advance(hours * HOUR - 12 * SECOND);
            assert!(is_sent(&client, &intent, &script).await);
            clock.advance(SECOND);
            assert!(!is_sent(&client, &intent, &script).await);
        }
    }
}

/// The process that got the response has died before it could store it.
// proves: client-refuses-expired-intent
#[tokio::test]
async fn a_later_process_knows_the_expiry_that_a_response_has_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let fields = [
        ("Date", "Thu, 01 Jan 1998 00:00:00 GMT"),
        ("Idempotency-Expires", "Thu, 01 Jan 1998 01:00:00 GMT"),
    ];
    let script = Script::start([reply("201 Created", &fields, "")]).await;
    let clock = Clock::manual();
    for is_in_time in [true, false] {
        let intent = open(&folder).await.intent("order-17");
        let is_sent = is_sent(&client_at(&clock), &intent, &script).await;
        assert_eq!(is_sent, is_in_time);
        clock.advance(HOUR);
    }
}

/// The clock stands still, and the key lives for no longer than an attempt takes.
// proves: client-refuses-expired-intent
#[tokio::test]
async fn an_intent_that_expires_between_two_attempts_is_not_sent_again() {
    let script = Script::start([Step::Close, status("201 Created")]).await;
    let client = client_at(&Clock::manual()).with_ttl(10 * SECOND);
    assert!(matches!(
        client.send(&Intent::new(), client.post(&script.url)).await,
        Err(SendError::Expired)
    ));
    assert_eq!(script.arrived().len(), 1);

    // An attempt that is known to be shorter still arrives in time.
    let script = Script::start([Step::Close, status("201 Created")]).await;
    let request = client.post(&script.url).timeout(9 * SECOND);
    let sent = client.send(&Intent::new(), request).await;
    assert_eq!(sent.expect("a response").attempts(), 2);
}
