//! The example `bookings`, as it is: a middleware verifies the caller.

use std::sync::{Arc, RwLock};

use tests::reply::Reply;
use tokio::net::TcpListener;

use crate::test_server::BOOKING;

#[path = "../../crates/idempotency/examples/bookings.rs"]
#[expect(dead_code, reason = "its main function is not called")]
mod bookings;

// proves: token-change-keeps-keys, principals-are-separate, revoked-permission-blocks-replay
#[tokio::test]
async fn the_middleware_of_the_example_comes_before_every_replay() {
    let sessions = [("token-1", "ann"), ("token-2", "ann"), ("token-3", "bob")];
    let sessions = sessions.map(|(token, subject)| (token.to_owned(), subject.to_owned()));
    let sessions = Arc::new(RwLock::new(sessions.into()));
    let app = bookings::app(Arc::clone(&sessions));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
    let client = reqwest::Client::new();
    let book = |token: &str| {
        let request = client
            .post(format!("http://{address}/bookings"))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", "k")
            .header("content-type", "application/json")
            .body(BOOKING);
        Reply::to(request)
    };
    let first = book("token-1").await;
    first.assert_fresh(201);
    book("token-1").await.assert_replays(&first);
    sessions.write().expect("a lock").remove("token-1");
    book("token-1").await.assert_fresh(401);
    book("token-2").await.assert_replays(&first);
    let other = book("token-3").await;
    other.assert_fresh(201);
    assert_eq!(other.json()["id"], 2);
}
