//! The keys of one subject do not use up the room of others.

use tempfile::tempdir;

use crate::{
    server::{Server, booking, send},
    tokens::{Tokens, book, get},
};

/// The limit of the store, in bytes.
const LIMIT: &str = "20000";

// proves: scope-share-limited
#[tokio::test]
async fn a_subject_that_floods_is_refused_while_its_old_keys_replay_and_others_book() {
    for place in ["same", "memory:", "sqlite:keys.db"] {
        let tokens = Tokens::new();
        let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
        let ann_again = tokens.add(&["ann"]);
        let arguments = [
            "--idempotency-store",
            place,
            "--idempotency-store-limit",
            LIMIT,
        ];
        let server = tokens.start(&arguments);
        let first = book(&server, &ann, "0").await;
        let mut keys = 1..;
        let refused = loop {
            let key = keys.next().unwrap();
            assert!(key < 100, "{place}: never refused");
            let reply = book(&server, &ann, &key.to_string()).await;
            if reply.status != 201 {
                break reply;
            }
        };
        assert_eq!(
            refused.problem(429)["code"],
            "idempotency_too_many_keys",
            "{place}"
        );
        assert!(refused.header("retry-after").is_some());
        // A second token does not make a second subject.
        assert_eq!(
            book(&server, &ann_again, "more").await.status,
            429,
            "{place}"
        );
        let retry = book(&server, &ann, "0").await;
        assert!(retry.is_replayed(), "{place}");
        assert_eq!(retry.body, first.body);
        assert_eq!(book(&server, &bob, "0").await.status, 201, "{place}");
    }
}

// proves: new-keys-limited, live-keys-limited
#[tokio::test]
async fn a_subject_that_sends_too_many_keys_is_refused_while_its_old_ones_replay_and_others_book() {
    for place in ["same", "memory:", "sqlite:keys.db"] {
        for (limit, code, outcome, metric) in [
            (
                "--max-new-keys-per-minute",
                "idempotency_too_many_new_keys",
                "Too many new keys",
                "too_many_new_keys",
            ),
            (
                "--max-live-keys",
                "idempotency_too_many_keys",
                "Too many keys are stored",
                "too_many_live_keys",
            ),
        ] {
            let tokens = Tokens::new();
            let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
            let ann_again = tokens.add(&["ann"]);
            let server = tokens.start(&["--idempotency-store", place, limit, "2"]);
            let first = book(&server, &ann, "1").await;
            assert_eq!(book(&server, &ann, "2").await.status, 201);
            for (token, key) in [(&ann, "3"), (&ann, "3"), (&ann_again, "4")] {
                let refused = book(&server, token, key).await;
                let problem = refused.problem(429);
                assert_eq!(
                    (&problem["code"], &problem["title"]),
                    (&code.into(), &outcome.into())
                );
                let seconds = refused.header("retry-after").unwrap();
                assert_eq!(problem["retry_after"].to_string(), seconds, "{place}");
                assert_eq!(refused.header("idempotency-problem"), Some(code));
            }
            let retry = book(&server, &ann_again, "1").await;
            assert!(retry.is_replayed(), "{place}");
            assert_eq!(retry.body, first.body);
            let other = server.write("POST", "/bookings", "2", &booking("Cid"));
            send(other.bearer_auth(&ann)).await.problem(422);
            assert_eq!(book(&server, &bob, "3").await.status, 201, "{place}");
            let keys = get(&server, &ann, "/admin/keys").await.json();
            assert_eq!(keys.as_array().unwrap().len(), 2, "nothing is stored");
            let metrics = server.get("/metrics").await;
            let metrics = String::from_utf8(metrics.body).unwrap();
            let counted = format!("idempotency_requests_total{{outcome=\"{metric}\"}} 3\n");
            assert!(metrics.contains(&counted), "{metrics}");
            let described = server.get("/openapi.json").await.json();
            let refusals =
                &described["paths"]["/bookings"]["post"]["responses"]["429"]["description"];
            let refusals = refusals.as_str().unwrap();
            assert!(refusals.contains(&format!("`{code}`: ")), "{refusals}");
        }
    }
}

#[tokio::test]
async fn a_store_has_room_for_many_keys_without_the_option() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for key in 0..60 {
        assert_eq!(server.book(&key.to_string(), "Ann").await.status, 201);
    }
}
