//! A clock that is set makes no key look younger than it is.

use idempotency::{Clock, client::Intent};

use crate::{
    expiry::{HOUR, SECOND, client_at, is_sent},
    open,
    script::{Script, reply, status},
};

// proves: client-survives-clock-changes
#[tokio::test]
async fn a_clock_that_is_set_back_leaves_the_age_as_it_is_within_a_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    for intent in [Intent::new(), open(&folder).await.intent("order-17")] {
        let clock = Clock::manual();
        let client = client_at(&clock);
        assert!(is_sent(&client, &intent, &script).await);
        clock.set_wall(clock.wall() - 20 * HOUR);
        assert!(is_sent(&client, &intent, &script).await);
        clock.advance(24 * HOUR);
        assert!(!is_sent(&client, &intent, &script).await);
    }
}

/// A machine that sleeps stops one of its clocks, and the other one goes on.
// proves: client-survives-clock-changes
#[tokio::test]
async fn the_time_that_a_machine_sleeps_counts() {
    let script = Script::start([status("201 Created")]).await;
    let (clock, intent) = (Clock::manual(), Intent::new());
    let client = client_at(&clock);
    assert!(is_sent(&client, &intent, &script).await);
    clock.set_wall(clock.wall() + 24 * HOUR);
    assert!(!is_sent(&client, &intent, &script).await);
}

/// Only the wall clock tells it how old the intent is.
// proves: client-survives-clock-changes
#[tokio::test]
async fn a_later_process_allows_for_a_clock_that_was_set() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = Script::start([status("201 Created")]).await;
    let clock = Clock::manual();
    let client = client_at(&clock);
    let intent = open(&folder).await.intent("order-17");
    assert!(is_sent(&client, &intent, &script).await);
    let begun_at = clock.wall();
    for (now, expected) in [
        (begun_at + 24 * HOUR - 311 * SECOND, true),
        (begun_at + 24 * HOUR - 310 * SECOND, false),
        (begun_at - 60 * SECOND, true),
        // Nothing says how much later than the intent it really is.
        (begun_at - HOUR, false),
    ] {
        clock.set_wall(now);
        let intent = open(&folder).await.intent("order-17");
        assert_eq!(is_sent(&client, &intent, &script).await, expected);
    }
}

/// What a response has told is by then the latest time that is known.
// proves: client-survives-clock-changes
#[tokio::test]
async fn a_later_process_sees_that_the_clock_was_before_the_last_response() {
    let folder = tempfile::tempdir().expect("a folder");
    let fields = [
        ("Date", "Thu, 01 Jan 1998 00:00:00 GMT"),
        ("Idempotency-Expires", "Sun, 04 Jan 1998 00:00:00 GMT"),
    ];
    let script = Script::start([status("201 Created"), reply("201 Created", &fields, "")]).await;
    let clock = Clock::manual();
    let client = client_at(&clock);
    let intent = open(&folder).await.intent("order-17");
    assert!(is_sent(&client, &intent, &script).await);
    clock.advance(10 * HOUR);
    assert!(is_sent(&client, &intent, &script).await);
    clock.set_wall(clock.wall() - 9 * HOUR);
    let intent = open(&folder).await.intent("order-17");
    assert!(!is_sent(&client, &intent, &script).await);
}

/// Without the service's date its expiry is by a clock that may be years ahead.
// proves: client-survives-clock-changes
#[tokio::test]
async fn an_expiry_without_a_date_makes_no_key_live_longer_than_the_ttl() {
    let fields = [("Idempotency-Expires", "Fri, 01 Jan 2100 00:00:00 GMT")];
    let script = Script::start([reply("201 Created", &fields, "")]).await;
    let (clock, intent) = (Clock::manual(), Intent::new());
    let client = client_at(&clock);
    assert!(is_sent(&client, &intent, &script).await);
    clock.advance(24 * HOUR - 12 * SECOND);
    assert!(is_sent(&client, &intent, &script).await);
    clock.advance(SECOND);
    assert!(!is_sent(&client, &intent, &script).await);
}
