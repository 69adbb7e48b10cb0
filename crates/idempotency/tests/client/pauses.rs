//! The pauses between attempts, in a time that the test moves.

use std::{sync::mpsc, time::Duration};

use idempotency::client::{Intent, RetryingClient};
use tokio::{task, time};

use crate::{
    client,
    script::{Script, reply, status},
};

/// Sends a request, and returns the pauses between its attempts in steps of this length, rounded up.
///
/// Time moves by a step when the network has been idle for a while. If it was not, a pause seems longer than it is, never
/// shorter.
async fn pauses(client: &RetryingClient, script: &Script, step: Duration) -> Vec<Duration> {
    time::pause();
    let (_ended, end) = mpsc::channel::<()>();
    // A paused clock jumps to the next timer when the runtime is idle, unless a blocking task is running.
    task::spawn_blocking(move || end.recv_timeout(Duration::from_secs(60)));
    let sending = task::spawn({
        let (client, request) = (client.clone(), client.post(&script.url));
        async move { client.send(&Intent::new(), request).await }
    });
    while !sending.is_finished() {
        for _ in 0..50 {
            task::yield_now().await;
        }
        time::advance(step).await;
    }
    sending.await.expect("no panic").expect("a response");
    let arrived = script.arrived();
    let pairs = arrived.iter().zip(&arrived[1..]);
    pairs
        .map(|(earlier, later)| later.at - earlier.at)
        .collect()
}

/// None of its time limits ends while a test moves the time.
fn patient() -> RetryingClient {
    client()
        .with_attempt_timeout(Duration::MAX)
        .with_deadline(Duration::MAX)
        .with_ttl(Duration::MAX)
}

// proves: client-heeds-retry-after
#[tokio::test]
async fn no_attempt_comes_before_retry_after() {
    let fields = [
        ("Date", "Thu, 01 Jan 1998 00:00:00 GMT"),
        ("Retry-After", "Thu, 01 Jan 1998 00:02:00 GMT"),
    ];
    let script = Script::start([
        reply("503 Service Unavailable", &[("Retry-After", "60")], ""),
        reply("429 Too Many Requests", &fields, ""),
        status("201 Created"),
    ])
    .await;
    let pauses = pauses(&patient(), &script, Duration::from_secs(1)).await;
    let [first, second] = pauses[..] else {
        panic!("{pauses:?}");
    };
    assert!(first >= Duration::from_secs(60), "{first:?}");
    assert!(second >= Duration::from_secs(120), "{second:?}");
}

/// With these limits, ten random pauses that do not grow are all below 100 seconds; of ten that grow, hardly ever.
// proves: client-backs-off-with-jitter
#[tokio::test]
async fn pauses_grow_and_are_random() {
    let unavailable = [const { "503 Service Unavailable" }; 10].map(status);
    let script = Script::start(unavailable.into_iter().chain([status("201 Created")])).await;
    let first = Duration::from_secs(100);
    let client = patient().with_backoff(first, Duration::MAX);
    let pauses = pauses(&client, &script, Duration::from_secs(20)).await;
    assert_eq!(pauses.len(), 10);
    assert!(pauses.iter().any(|pause| *pause > 3 * first), "{pauses:?}");
    // Without jitter each would be twice the one before.
    let is_doubled =
        |pair: &[Duration]| pair[1] > pair[0].mul_f32(1.7) && pair[1] < pair[0].mul_f32(2.3);
    assert!(!pauses.windows(2).all(is_doubled), "{pauses:?}");
}

// proves: client-backs-off-with-jitter
#[tokio::test]
async fn no_pause_is_longer_than_the_longest() {
    let unavailable = ["503 Service Unavailable"; 10].map(status);
    let script = Script::start(unavailable.into_iter().chain([status("201 Created")])).await;
    let client = patient().with_backoff(Duration::from_secs(100), Duration::from_secs(100));
    let pauses = pauses(&client, &script, Duration::from_secs(1)).await;
    // With some steps for a slow network.
    let limit = Duration::from_secs(200);
    assert!(pauses.iter().all(|pause| *pause < limit), "{pauses:?}");
}
