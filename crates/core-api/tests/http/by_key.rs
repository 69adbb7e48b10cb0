//! What a key has made, asked by its owner.

use tempfile::tempdir;

use crate::{
    server::{Reply, Server, UNSEEN, booking, send},
    tokens::{Tokens, book},
};

/// The second link of a problem.
#[track_caller]
fn related(reply: &Reply) -> &str {
    let links = reply.headers.get_all("link").iter();
    let mut links = links.map(|link| link.to_str().unwrap());
    let related = links.find(|link| link.contains("rel=\"related\""));
    related.expect("a link")
}

async fn by_key(server: &Server, token: Option<&str>, key: &str) -> Reply {
    let key = format!("{key}{UNSEEN}");
    let mut request = server.request("GET", "/bookings/by-key");
    request = request.header("Idempotency-Key", key);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    send(request).await
}

// proves: owner-asks-what-key-made, principals-are-separate
#[tokio::test]
async fn after_422_the_owner_and_nobody_else_learns_what_its_key_made() {
    let tokens = Tokens::new();
    let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
    let ann_reads = tokens.add(&["ann", "--role", "viewer"]);
    let operator = tokens.add(&["ann", "--role", "operator"]);
    let server = tokens.start(&[]);
    let first = book(&server, &ann, "k").await;
    assert_eq!(first.status, 201);
    let other = server.write("POST", "/bookings", "k", &booking("Cid"));
    let refused = send(other.bearer_auth(&ann)).await;
    assert!(related(&refused).starts_with("</bookings/by-key>; rel=\"related\""));
    let problem = refused.problem(422);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("GET /bookings/by-key"),
        "{problem}"
    );
    // The page that explains it is linked as well, and other problems have nothing more than that.
    assert_eq!(refused.headers.get_all("link").iter().count(), 2);
    let malformed = book(&server, &ann, "two words").await;
    malformed.problem(400);
    assert_eq!(malformed.headers.get_all("link").iter().count(), 1);

    for token in [&ann, &ann_reads] {
        let made = by_key(&server, Some(token), "k").await;
        assert_eq!(made.status, 200);
        assert_eq!(made.header("location"), first.header("location"));
        assert_eq!(made.header("cache-control"), Some("no-store"));
        assert!(!made.is_replayed());
        let shown = made.json();
        assert_eq!(shown["status"], 201);
        assert_eq!(shown["location"], first.header("location").unwrap());
        assert_eq!(shown["body"], first.json());
    }
    // Of another subject, of the same one's operator, and unknown: the same response.
    let unknown = by_key(&server, Some(&ann), "unused").await;
    assert_eq!(unknown.problem(404)["code"], "key_not_found");
    for token in [&bob, &operator] {
        let foreign = by_key(&server, Some(token), "k").await;
        assert_eq!(foreign.status, 404);
        assert_eq!(foreign.body, unknown.body);
    }
    let nobody = by_key(&server, None, "k").await;
    assert_eq!(nobody.problem(401)["code"], "token_missing");
}

// proves: owner-asks-what-key-made
#[tokio::test]
async fn the_key_of_a_question_is_in_one_field_and_valid() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let server = tokens.start(&[]);
    assert_eq!(book(&server, &ann, "k").await.status, 201);
    let ask = |keys: &[&str]| {
        let mut request = server.request("GET", "/bookings/by-key").bearer_auth(&ann);
        for key in keys {
            request = request.header("Idempotency-Key", *key);
        }
        send(request)
    };
    assert_eq!(ask(&[&format!("\"k{UNSEEN}\"")]).await.status, 200);
    for keys in [&[][..], &["a,b"], &["a", "a"], &["a", "b"], &[""]] {
        assert_eq!(ask(keys).await.problem(400)["code"], "malformed");
    }
}

// proves: owner-asks-what-key-made, principals-are-separate
#[tokio::test]
async fn where_callers_are_not_known_nobody_learns_what_a_key_made() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    let asked = by_key(&server, None, "k").await;
    assert_eq!(asked.problem(403)["code"], "tokens_needed");
    let reused = server.book("k", "Cid").await;
    let problem = reused.problem(422);
    assert!(!problem["detail"].as_str().unwrap().contains("by-key"));
    assert_eq!(reused.headers.get_all("link").iter().count(), 1);
}
