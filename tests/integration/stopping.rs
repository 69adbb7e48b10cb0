//! The end of a service, as README.md writes it.

use std::{future::IntoFuture, pin::pin, time::Duration};

use axum::Extension;
use futures_util::poll;
use idempotency::{
    Idempotency, MemoryStore,
    store::{ListRequest, Phase},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{
    app::{self, Probe},
    leaving::stop_request,
};

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn a_run_whose_client_has_left_ends_after_the_server_and_before_the_process() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let probe = Probe::default();
    let app = app::router(&idempotency, probe.clone()).layer(Extension(idempotency.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        stopped.await.expect("a signal");
    });
    let serving = tokio::spawn(serving.into_future());

    let mut client = TcpStream::connect(address).await.expect("a connection");
    let sent = client.write_all(stop_request("k").as_bytes()).await;
    sent.expect("the server reads");
    probe.started().await;
    drop(client);
    stop.send(()).expect("a server");
    serving.await.expect("no panic").expect("a clean end");

    // The server has nothing left to wait for, and the run goes on.
    let mut shutdown = pin!(idempotency.shutdown_within(Duration::from_secs(60)));
    assert!(poll!(shutdown.as_mut()).is_pending());
    probe.proceed();
    shutdown.await.expect("nothing unfinished");
    let listed = idempotency
        .store()
        .list(&ListRequest::new(2))
        .await
        .expect("a list");
    let [listed] = listed.as_slice() else {
        panic!("one record: {listed:?}");
    };
    let record = listed.record.as_ref().expect("a record");
    assert!(
        matches!(record.phase, Phase::Completed { .. }),
        "{record:?}"
    );
    assert_eq!(probe.runs(), 1);
}
