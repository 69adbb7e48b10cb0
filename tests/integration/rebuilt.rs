//! Responses that are not stored, on every store: a function rebuilds them from a stored value.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use futures_util::future::join_all;
use http::StatusCode;
use idempotency::{
    ReplayWith, idempotent,
    store::{ListRequest, Phase},
};
use tests::reply::Reply;

use crate::{app::Probe, test_server::TestServer};

const CREDENTIAL: &str = "a credential";

pub(crate) fn routes() -> Router<Probe> {
    Router::new().route("/tokens", post(create_token))
}

#[idempotent(ttl_seconds = 3600, on_duplicate = "wait", replay = show_token)]
async fn create_token(
    State(probe): State<Probe>,
) -> (StatusCode, ReplayWith<String>, &'static str) {
    probe.count();
    let id = format!("id-{}", probe.runs());
    (StatusCode::CREATED, ReplayWith(id), CREDENTIAL)
}

async fn show_token(State(probe): State<Probe>, ReplayWith(id): ReplayWith<String>) -> String {
    format!("{id} of {}", probe.runs())
}

// proves: rebuilt-response-not-stored, duplicate-may-wait, expired-key-is-new, records-encrypted-and-purgeable
#[tokio::test]
async fn a_retry_gets_a_response_that_is_not_in_the_store() {
    let secret = b"a secret of thirty-two characters";
    for is_sealed in [false, true] {
        let server = TestServer::configured(|builder| match is_sealed {
            true => builder.with_secret(secret),
            false => builder,
        })
        .await;
        let send = || Reply::to(server.post("/tokens", "k", "{}"));
        let replies = join_all((0..8).map(|_| send())).await;
        let (replays, fresh): (Vec<_>, Vec<_>) =
            replies.iter().partition(|reply| reply.is_replay());
        assert_eq!(fresh.len(), 1, "{replies:?}");
        fresh[0].assert_fresh(201);
        assert_eq!(fresh[0].text(), CREDENTIAL);
        for replay in replays {
            assert_eq!(
                (replay.status(), replay.text()),
                ("200 OK".into(), "id-1 of 1")
            );
        }

        let listed = server.idempotency.store().list(&ListRequest::new(10)).await;
        for listed in listed.expect("a list") {
            let Phase::Completed { outcome } = listed.record.expect("a record").phase else {
                panic!("it has ended");
            };
            // The engine's own view is not sealed.
            assert_eq!(outcome.as_ref(), b"\x01\x04\"id-1\"");
        }

        server.time.pass(Duration::from_secs(3600 + 61));
        send().await.assert_fresh(201);
        assert_eq!(send().await.text(), "id-2 of 2");
    }
}
