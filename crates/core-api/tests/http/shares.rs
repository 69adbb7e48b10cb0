//! The keys of one subject do not use up the room of others.

use tempfile::tempdir;

use crate::{
    server::Server,
    tokens::{Tokens, book},
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

#[tokio::test]
async fn a_store_has_room_for_many_keys_without_the_option() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for key in 0..60 {
        assert_eq!(server.book(&key.to_string(), "Ann").await.status, 201);
    }
}
