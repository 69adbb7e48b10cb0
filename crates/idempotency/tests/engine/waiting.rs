//! Which duplicates may wait: every scope has its share of the places, and of the bytes that waiters hold.

use idempotency::{Clock, Idempotency, OnDuplicate, Options, Rejection, Run, RunError, Scope};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    Failed, RunResult, asked, key,
    watched::{WatchedStore, reaches},
};

const WAIT: Options = Options::new().on_duplicate(OnDuplicate::Wait);

/// Sends the same call under the key "k" of this caller, and waits if it has to.
fn charge_as(
    idempotency: &Idempotency,
    caller: usize,
    work: impl Future<Output = Result<u32, Failed>> + Send + 'static,
) -> JoinHandle<RunResult<u32>> {
    let idempotency = idempotency.clone();
    tokio::spawn(async move {
        let (scope, key) = (Scope::principal(caller.to_string()), key("k"));
        idempotency
            .run_with(&WAIT, &scope, &key, asked("charge"), |_| work)
            .await
    })
}

// proves: duplicate-may-wait, waiters-exhaust-pool
#[tokio::test]
async fn the_waiters_of_one_scope_leave_places_to_those_of_others() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let open = watch::Sender::new(false);
    let mut claims = 0;
    let mut waiting = Vec::new();
    for caller in 0..4 {
        let mut is_open = open.subscribe();
        let running = charge_as(&idempotency, caller, async move {
            is_open.wait_for(|open| *open).await.expect("a word");
            Ok(1)
        });
        claims += 1;
        reaches(&calls.claims, claims).await;
        let waiters = (0..256).map(|_| charge_as(&idempotency, caller, async { Ok(2) }));
        let waiters: Vec<_> = waiters.collect();
        // Each claims once before it waits, and once after it has begun to listen.
        claims += 256 * 2;
        reaches(&calls.claims, claims).await;
        let one_more = charge_as(&idempotency, caller, async { Ok(2) });
        let one_more = one_more.await.expect("no panic");
        assert!(
            matches!(one_more, Err(RunError::Rejected(Rejection::InProgress))),
            "{one_more:?}"
        );
        claims += 1;
        assert_eq!(*calls.claims.borrow(), claims);
        waiting.push((running, waiters));
    }
    // All places are taken now.
    let mut is_open = open.subscribe();
    let last = charge_as(&idempotency, 4, async move {
        is_open.wait_for(|open| *open).await.expect("a word");
        Ok(1)
    });
    reaches(&calls.claims, claims + 1).await;
    let one_more = charge_as(&idempotency, 4, async { Ok(2) });
    let one_more = one_more.await.expect("no panic");
    assert!(matches!(
        one_more,
        Err(RunError::Rejected(Rejection::InProgress))
    ));

    open.send_replace(true);
    assert_eq!(last.await.expect("no panic").ok(), Some(Run::Executed(1)));
    for (running, waiters) in waiting {
        let run = running.await.expect("no panic");
        assert_eq!(run.ok(), Some(Run::Executed(1)));
        for waiter in waiters {
            let waited = waiter.await.expect("no panic");
            assert_eq!(waited.ok(), Some(Run::Replayed(1)));
        }
    }

    // A caller that has waited has released its place.
    let (go_on, may_go_on) = tokio::sync::oneshot::channel();
    let before = *calls.claims.borrow();
    let running = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            let (scope, key) = (Scope::principal("0"), key("next"));
            let work = async {
                may_go_on.await.expect("a word");
                Ok::<u32, Failed>(3)
            };
            idempotency.run(&scope, &key, asked("charge"), work).await
        }
    });
    reaches(&calls.claims, before + 1).await;
    let waiting = tokio::spawn({
        let idempotency = idempotency.clone();
        async move {
            let (scope, key) = (Scope::principal("0"), key("next"));
            let work = async { Ok::<u32, Failed>(4) };
            idempotency
                .run_with(&WAIT, &scope, &key, asked("charge"), |_| work)
                .await
        }
    });
    reaches(&calls.claims, before + 3).await;
    go_on.send(()).expect("the work waits");
    assert_eq!(
        running.await.expect("no panic").ok(),
        Some(Run::Executed(3))
    );
    assert_eq!(
        waiting.await.expect("no panic").ok(),
        Some(Run::Replayed(3))
    );
}

#[cfg(feature = "axum")]
mod http {
    use std::convert::Infallible;

    use axum::body::Body;
    use http::{Request, Response, StatusCode};
    use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Options, options::RunMode};
    use tokio::sync::watch;
    use tower::{Layer, ServiceExt};

    /// The longest body that axum takes by default.
    const LONGEST: usize = 2 << 20;

    fn request(caller: &str) -> Request<Body> {
        Request::post("/")
            .header("idempotency-key", "k")
            .header("authorization", caller)
            .header("prefer", "wait=60")
            .body(vec![b'x'; LONGEST].into())
            .expect("a request")
    }

    // proves: duplicate-may-wait, waiters-exhaust-pool
    #[tokio::test]
    async fn waiters_keep_a_bounded_number_of_bytes() {
        for mode in [RunMode::Lease, RunMode::Transactional] {
            let open = watch::Sender::new(false);
            let (started, mut has_started) = tokio::sync::mpsc::unbounded_channel();
            let service = tower::service_fn({
                let open = open.clone();
                move |_: Request<Body>| {
                    let mut is_open = open.subscribe();
                    let started = started.clone();
                    async move {
                        started.send(()).expect("the test waits");
                        is_open.wait_for(|open| *open).await.expect("a word");
                        let mut response = Response::new(Body::empty());
                        *response.status_mut() = StatusCode::CONFLICT;
                        Ok::<_, Infallible>(response)
                    }
                }
            });
            let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()))
                .with_options(Options::new().mode(mode));
            let service = layer.layer(service);
            let send =
                |caller: &'static str| tokio::spawn(service.clone().oneshot(request(caller)));
            let running = send("ann");
            has_started.recv().await.expect("it begins");
            // On one thread, each of them has begun to wait when the next one is sent.
            let mut waiting = Vec::new();
            for _ in 0..8 {
                waiting.push(send("ann"));
                tokio::task::yield_now().await;
            }
            let refused = send("ann").await.expect("no panic").expect("a response");
            assert_eq!(refused.status(), StatusCode::CONFLICT);
            assert!(refused.headers().contains_key("retry-after"));
            assert!(waiting.iter().all(|waiter| !waiter.is_finished()));

            let other = send("bob");
            has_started.recv().await.expect("it begins");
            let other_waits = send("bob");
            tokio::task::yield_now().await;
            open.send_replace(true);
            waiting.extend([running, other, other_waits]);
            for request in waiting {
                let response = request.await.expect("no panic").expect("a response");
                assert!(!response.headers().contains_key("retry-after"));
            }
        }
    }
}
