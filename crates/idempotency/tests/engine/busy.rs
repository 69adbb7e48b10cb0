//! A limit on concurrent runs.

use std::{sync::Arc, time::Duration};

use idempotency::{Clock, Idempotency, Rejection, Run, RunError, Scope, options::RunMode};

use crate::{
    Failed, RunResult, asked, begun, key,
    watched::{WatchedStore, reaches},
};

async fn run(idempotency: &Idempotency, name: &str, value: u32) -> RunResult<u32> {
    let (scope, key) = (Scope::anonymous(), key(name));
    let work = async move { Ok::<_, Failed>(value) };
    idempotency.run(&scope, &key, asked("charge"), work).await
}

fn is_busy(refused: &RunResult<u32>) -> bool {
    matches!(refused, Err(RunError::Rejected(Rejection::Busy)))
}

// proves: run-survives-client-leaving, client-leaves-response-lost
#[tokio::test(start_paused = true)]
async fn no_more_runs_go_on_than_may_also_when_their_callers_have_gone() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store))
        .with_max_running(2)
        .build();
    assert_eq!(
        run(&idempotency, "old", 7).await.ok(),
        Some(Run::Executed(7))
    );
    let (left, finish) = begun(&idempotency, Scope::anonymous(), "left").await;
    left.abort();
    assert!(left.await.is_err_and(|error| error.is_cancelled()));
    let (_run, _keeps_running) = begun(&idempotency, Scope::anonymous(), "stays").await;
    let claims = *calls.claims.borrow();
    assert!(is_busy(&run(&idempotency, "new", 2).await));
    assert_eq!(
        run(&idempotency, "old", 8).await.ok(),
        Some(Run::Replayed(7))
    );
    let duplicate = run(&idempotency, "stays", 2).await;
    assert!(
        matches!(duplicate, Err(RunError::Rejected(Rejection::InProgress))),
        "{duplicate:?}"
    );
    assert_eq!(*calls.claims.borrow(), claims, "nothing is claimed");

    finish.send(()).expect("it runs on");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        run(&idempotency, "new", 2).await.ok(),
        Some(Run::Executed(2))
    );
    reaches(&calls.claims, claims + 1).await;
}

// proves: replay-never-extends-ttl, client-leaves-response-lost
#[tokio::test(start_paused = true)]
async fn a_run_that_fails_leaves_its_place_to_others() {
    let (store, _) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).with_max_running(1).build();
    for _ in 0..3 {
        let (scope, key) = (Scope::anonymous(), key("k"));
        let failed: RunResult<u32> = idempotency
            .run(&scope, &key, asked("charge"), async { Err(Failed) })
            .await;
        assert!(matches!(failed, Err(RunError::Failed(Failed))));
        let panics = async { panic!("on purpose") };
        let panicked: RunResult<u32> = idempotency.run(&scope, &key, asked("charge"), panics).await;
        assert!(matches!(
            panicked,
            Err(RunError::Rejected(Rejection::Panicked))
        ));
    }
    assert_eq!(run(&idempotency, "k", 2).await.ok(), Some(Run::Executed(2)));
}

#[cfg(feature = "axum")]
// proves: run-survives-client-leaving, client-leaves-response-lost
#[tokio::test]
async fn a_busy_service_responds_503_and_says_when_to_retry() {
    use std::convert::Infallible;

    use axum::body::Body;
    use http::{Request, Response, StatusCode};
    use idempotency::{IdempotencyLayer, MemoryStore, Options};
    use tower::{Layer, ServiceExt};

    for mode in [RunMode::Lease, RunMode::Transactional] {
        let idempotency = Idempotency::builder(MemoryStore::new())
            .with_max_running(1)
            .build();
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let service = tower::service_fn(move |_: Request<Body>| {
            let begun = begun.clone();
            async move {
                begun.send(()).expect("the test waits");
                std::future::pending::<()>().await;
                Ok::<_, Infallible>(Response::new(Body::empty()))
            }
        });
        let layer = IdempotencyLayer::new(idempotency).with_options(Options::new().mode(mode));
        let service = layer.layer(service);
        let send = |key: &str| {
            let request = Request::post("/").header("idempotency-key", key);
            let request = request.body(Body::empty()).expect("a request");
            service.clone().oneshot(request)
        };
        let running = tokio::spawn(send("one"));
        has_begun.recv().await.expect("a run");
        let Ok(busy) = send("other").await;
        assert_eq!(busy.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(busy.headers()["retry-after"], "1");
        let Ok(duplicate) = send("one").await;
        assert_eq!(duplicate.status(), StatusCode::CONFLICT);
        running.abort();
    }
}
