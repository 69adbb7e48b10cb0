//! The limits of attempts and time.

use std::time::{Duration, SystemTime};

use idempotency::client::{GaveUp, Intent, LastAttempt, RetryingClient, SendError};

use tokio::time::timeout;

use crate::{
    client,
    script::{Script, Step, reply, status},
};

async fn gives_up(client: &RetryingClient, script: &Script) -> GaveUp {
    let intent = Intent::new();
    let sending = client.send(&intent, client.post(&script.url));
    let sent = timeout(Duration::from_secs(60), sending).await;
    match sent.expect("it gives up") {
        Err(SendError::GaveUp(gave_up)) => gave_up,
        sent => panic!("{sent:?}"),
    }
}

// proves: client-gives-up-in-time
#[tokio::test]
async fn it_makes_no_more_attempts_than_it_may() {
    let script = Script::start([status("503 Service Unavailable")]).await;
    let gave_up = gives_up(&client().with_max_attempts(3), &script).await;
    assert_eq!(gave_up.attempts, 3);
    assert_eq!(script.arrived().len(), 3);
    let LastAttempt::Response(last) = gave_up.last else {
        panic!("{gave_up:?}");
    };
    assert_eq!(last.status(), 503);

    let script = Script::start([status("503 Service Unavailable")]).await;
    let gave_up = gives_up(&client().with_max_attempts(0), &script).await;
    assert_eq!(gave_up.attempts, 1);
}

// proves: client-gives-up-in-time
#[tokio::test]
async fn the_deadline_ends_an_attempt() {
    let script = Script::start([Step::Hang]).await;
    let client = client()
        .with_attempt_timeout(Duration::MAX)
        .with_deadline(Duration::from_millis(100));
    let gave_up = gives_up(&client, &script).await;
    assert!(matches!(gave_up.last, LastAttempt::TimedOut), "{gave_up:?}");
    assert_eq!(gave_up.attempts, 1);
}

// proves: client-gives-up-in-time, client-heeds-retry-after
#[tokio::test]
async fn a_pause_beyond_the_deadline_is_not_begun() {
    let in_a_day = SystemTime::now() + Duration::from_secs(24 * 3600);
    let in_a_day = httpdate::fmt_http_date(in_a_day);
    let by_seconds = [("Retry-After", "86400")];
    let by_date = [("Retry-After", in_a_day.as_str())];
    let by_dates = [
        ("Date", "Thu, 01 Jan 1998 00:00:00 GMT"),
        ("Retry-After", "Fri, 02 Jan 1998 00:00:00 GMT"),
    ];
    let day = 86_400;
    for (fields, expected) in [
        (&by_seconds[..], day..=day),
        (&by_date, day - 600..=day),
        (&by_dates, day..=day),
    ] {
        let script = Script::start([reply("503 Service Unavailable", fields, "")]).await;
        let gave_up = gives_up(&client(), &script).await;
        let after = gave_up.retry_after.expect("a time").as_secs();
        assert!(expected.contains(&after), "{fields:?}: {after}");
        assert_eq!(gave_up.attempts, 1);
    }
}

#[tokio::test]
async fn a_retry_after_that_cannot_be_read_says_nothing() {
    let past = "Thu, 01 Jan 1998 00:00:00 GMT";
    for value in ["", "soon", "-1", "1.5", past] {
        let fields = [("Retry-After", value)];
        let unavailable = reply("503 Service Unavailable", &fields, "");
        let script = Script::start([unavailable, status("201 Created")]).await;
        let sent = client()
            .send(&Intent::new(), client().post(&script.url))
            .await;
        assert_eq!(sent.expect("a response").attempts(), 2, "{value:?}");
    }
    let fields = [("Retry-After", "99999999999999999999999")];
    let script = Script::start([reply("503 Service Unavailable", &fields, "")]).await;
    let gave_up = gives_up(&client(), &script).await;
    assert_eq!(gave_up.retry_after, Some(Duration::from_secs(u64::MAX)));
}
