//! `/admin/keys`.

use std::fs;

use reqwest::header::IF_MATCH;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    keys::{LEASES, assert_undone, done, expire_leases, killed_while_booking, run},
    server::{Reply, Server, UNSEEN, booking, send},
    tokens::{Tokens, book, get},
};

async fn listed(server: &Server, token: &str, query: &str) -> Vec<Value> {
    let reply = get(server, token, &format!("/admin/keys{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    serde_json::from_slice(&reply.body).unwrap()
}

async fn post(server: &Server, token: &str, key: &Value, verb: &str, body: &Value) -> Reply {
    let tag = format!("\"{}\"", key["version"].as_str().unwrap());
    let request = server.request("POST", &path(key, verb)).json(body);
    send(request.bearer_auth(token).header(IF_MATCH, tag)).await
}

fn path(key: &Value, verb: &str) -> String {
    format!("/admin/keys/{}{verb}", key["id"].as_str().unwrap())
}

// proves: key-state-shown, principals-are-separate, bearer-token-required
#[tokio::test]
async fn an_operator_sees_all_keys_and_a_subject_its_own() {
    let tokens = Tokens::new();
    let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
    let viewer = tokens.add(&["ann", "--role", "viewer"]);
    let operator = tokens.add(&["root", "--role", "operator"]);
    // A store that no command reaches.
    let server = tokens.start(&["--database", "memory:"]);
    for (token, key) in [(&ann, "k"), (&ann, "l"), (&bob, "k")] {
        assert_eq!(book(&server, token, key).await.status, 201);
    }
    server.get("/admin/keys").await.problem(401);
    get(&server, "unknown", "/admin/keys").await.problem(401);
    let all = listed(&server, &operator, "").await;
    assert_eq!(all.len(), 3);
    let own = listed(&server, &viewer, "").await;
    assert_eq!(own.len(), 2);
    let of_bob = all.iter().find(|key| !own.contains(key)).unwrap();
    assert_eq!(
        listed(&server, &bob, "").await,
        std::slice::from_ref(of_bob)
    );
    let label = of_bob["label"].as_str().unwrap();
    let query = format!("?label={label}");
    assert_eq!(listed(&server, &operator, &query).await.len(), 1);
    assert!(listed(&server, &viewer, &query).await.is_empty());
    get(&server, &viewer, &path(of_bob, "")).await.problem(404);
    let digits = &of_bob["id"].as_str().unwrap()[..16];
    get(&server, &viewer, &format!("/admin/keys/{digits}"))
        .await
        .problem(404);
    let shown = get(&server, &operator, &format!("/admin/keys/{digits}")).await;
    assert_eq!(shown.json()["response"]["status"], 201);
    assert!(shown.json()["response"].get("body").is_none());
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    // Others name a key of theirs by all its digits: a part of them tells of the keys of others.
    let path_of_own = path(&own[0], "");
    let part = &path_of_own[.."/admin/keys/".len() + 63];
    get(&server, &viewer, part).await.problem(404);
    assert_eq!(get(&server, &operator, part).await.status, 200);
    assert_eq!(get(&server, &viewer, &path_of_own).await.status, 200);
    let with_body = format!("{path_of_own}?body=true");
    let refused = get(&server, &viewer, &with_body).await;
    assert_eq!(refused.problem(403)["code"], "role_insufficient");
    let body = get(&server, &operator, &with_body).await.json()["response"]["body"].clone();
    assert!(body.as_str().unwrap().contains("Ann"));
    server.wait_for_log("\"shown\"").await;
    let log = server.logged();
    let shown = log.lines().find(|line| line.contains("\"shown\"")).unwrap();
    let shown: Value = serde_json::from_str(shown).unwrap();
    assert_eq!(
        (&shown["action"], &shown["by"], &shown["key"]),
        (&"show body".into(), &"subject root".into(), &own[0]["id"])
    );

    // A page after another, with the same filter.
    let first = get(
        &server,
        &operator,
        "/admin/keys?limit=2&route=POST%20/bookings",
    )
    .await;
    let link = first.header("link").unwrap();
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
    let second = get(&server, &operator, next).await;
    assert!(second.header("link").is_none());
    let pages = [first.json(), second.json()];
    let ids = pages.iter().flat_map(|page| page.as_array().unwrap());
    assert!(ids.eq(&all));
    for query in [
        "?phase=any",
        "?limit=0",
        "?older_than=1",
        "?after=1",
        "?key=k",
        "?subject=a%20b",
        "?subject=ann&label=ann",
        "/by-key",
        "/by-key?subject=ann",
        "/by-key?subject=ann&operator=1",
    ] {
        let refused = get(&server, &operator, &format!("/admin/keys{query}")).await;
        assert_eq!(refused.problem(400)["code"], "malformed");
    }
    // A key that a client sends in the place of an id is not in the log.
    let sent = ["k", "k/release", "k/no/route"].map(|id| format!("/admin/keys/{UNSEEN}{id}"));
    for path in &sent {
        get(&server, &operator, path).await;
    }
    server.wait_for_log("/admin/keys/…").await;
    let log = server.logged();
    assert!(!log.contains(UNSEEN), "{log}");
    assert!(log.contains("\"path\":\"/admin/keys/{id}\""), "{log}");
    let of_ann = log.lines().find(|line| line.contains("\"responded\""));
    assert!(of_ann.unwrap().contains("\"subject\":\"ann\""), "{log}");
}

/// What an operator did to the bookings of others is not replayed to a token that may see only its own.
// proves: principals-are-separate, revoked-permission-blocks-replay
#[tokio::test]
async fn the_keys_of_an_operator_are_apart_from_those_of_its_subject() {
    let tokens = Tokens::new();
    let (bob, ann) = (tokens.add(&["bob"]), tokens.add(&["ann"]));
    let operator = tokens.add(&["ann", "--role", "operator"]);
    let server = tokens.start(&[]);
    let booked = book(&server, &bob, "k").await;
    let path = booked.header("location").unwrap();
    let change = |token: &str| {
        let request = server.write("PUT", path, "c", &booking("Bob"));
        send(request.bearer_auth(token))
    };
    assert_eq!(change(&operator).await.status, 200);
    assert!(change(&operator).await.is_replayed());
    change(&ann).await.problem(404);
    let all = listed(&server, &ann, "").await;
    let text = fs::read_to_string(tokens.file()).unwrap();
    let demoted = text.replace("role=operator", "role=caller");
    fs::write(tokens.file(), demoted).unwrap();
    server.wait_for_log("was read again").await;
    change(&operator).await.problem(404);
    // By the label, the list of the subject has them all the same.
    let still = listed(&server, &operator, "").await;
    assert_eq!((still.len(), &still[0]["id"]), (1, &all[0]["id"]));
    server.kill();
    // The command finds them too.
    let key = format!("c{UNSEEN}");
    let show = ["show", "--subject", "ann", "--key", &key];
    let shown = done(
        tokens.directory.path(),
        &[&show[..], &["--operator"]].concat(),
    );
    assert!(shown.contains("response     200"), "{shown}");
    let other = run(tokens.directory.path(), &show, "");
    assert_undone(&other, "not found");
}

// proves: erased-response-never-runs, bearer-token-required
#[tokio::test]
async fn only_an_operator_changes_a_key_and_only_as_it_was_seen() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let operator = tokens.add(&["root", "--role", "operator"]);
    let server = tokens.start(&[]);
    assert_eq!(book(&server, &ann, "k").await.status, 201);
    let all = listed(&server, &operator, "?phase=completed").await;
    let key = &all[0];
    for verb in ["/erase", "/release", "/resolve"] {
        let refused = post(&server, &ann, key, verb, &json!({"status": 200})).await;
        assert_eq!(refused.problem(403)["code"], "role_insufficient");
    }
    let unseen = server.request("POST", &path(key, "/erase"));
    let unseen = send(unseen.bearer_auth(&operator)).await;
    assert_eq!(unseen.problem(428)["code"], "if_match_missing");
    let other = json!({"id": key["id"], "version": "0123456789abcdef"});
    let changed = post(&server, &operator, &other, "/erase", &json!({})).await;
    assert_eq!(changed.problem(412)["code"], "key_changed");
    let erase = async |tag: &str| {
        let request = server.request("POST", &path(key, "/erase"));
        send(request.bearer_auth(&operator).header(IF_MATCH, tag)).await
    };
    assert_eq!(erase("*").await.problem(400)["code"], "malformed");
    let completed = post(&server, &operator, key, "/release", &json!({})).await;
    assert_eq!(completed.problem(409)["code"], "key_phase");
    assert!(book(&server, &ann, "k").await.is_replayed());

    // As a proxy weakens it, in a list.
    let version = key["version"].as_str().unwrap();
    let erased = erase(&format!("\"of another one\", W/\"{version}\"")).await;
    assert_eq!(erased.json(), json!({"result": "done"}));
    book(&server, &ann, "k").await.problem(410);
    let id = key["id"].as_str().unwrap();
    server.wait_for_log("changed meanwhile").await;
    let log = server.logged();
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = events.filter(|event| event["target"] == "audit" && event["action"] == "erase");
    let events: Vec<_> = events.collect();
    assert!(
        events
            .iter()
            .all(|event| event["by"] == "subject root" && event["key"] == id)
    );
    // By these digits the line of the token is found.
    let lines = fs::read_to_string(tokens.file()).unwrap();
    let digits = events[0]["token"].as_str().unwrap();
    let line = lines.lines().find(|line| line.contains("subject=root"));
    assert!(digits.len() == 12 && line.unwrap().starts_with(&format!("sha256={digits}")));
    let said: Vec<_> = events.iter().map(|event| &event["message"]).collect();
    assert_eq!(said, ["asked for", "not done", "asked for", "done"]);
    assert!(!log.contains(UNSEEN));
}

// proves: lost-key-resolved-as-seen
#[tokio::test]
async fn a_lost_run_is_resolved_over_http() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let operator = tokens.add(&["root", "--role", "operator"]);
    let arguments = [&["--tokens", "tokens"], &LEASES[..]].concat();
    let path = tokens.directory.path();
    killed_while_booking(path, &arguments, Some(&ann), &["a", "b"]).await;
    let server = tokens.start(&LEASES);
    let running = listed(&server, &operator, "?phase=in-flight").await;
    assert!(listed(&server, &operator, "?phase=stuck").await.is_empty());
    let refused = post(&server, &operator, &running[0], "/release", &json!({})).await;
    assert_eq!(refused.problem(409)["code"], "key_phase");
    let refused = post(&server, &operator, &running[0], "/erase", &json!({})).await;
    assert_eq!(refused.problem(409)["code"], "key_phase");
    server.kill();

    expire_leases(path);
    let server = tokens.start(&LEASES);
    let stuck = listed(&server, &operator, "?phase=stuck").await;
    let [first, second] = &stuck[..] else {
        panic!("{stuck:?}");
    };
    for body in [
        json!({}),
        json!({"status": 99}),
        json!({"status": 201, "ttl_seconds": 0}),
        json!({"status": 201, "ttl_seconds": 59}),
        json!({"status": 200, "headers": [["a b", "c"]]}),
        json!({"status": 200, "headers": vec![["X-Part", "c"]; 257]}),
    ] {
        let refused = post(&server, &operator, first, "/resolve", &body).await;
        assert_eq!(refused.problem(400)["code"], "malformed");
    }
    let too_long = json!({"status": 201, "body": "b".repeat(1024 * 1024 + 1)});
    let refused = post(&server, &operator, first, "/resolve", &too_long).await;
    assert_eq!(refused.problem(413)["code"], "content_too_large");
    let response =
        json!({"status": 201, "headers": [["Content-Type", "text/plain"]], "body": "found"});
    let resolved = post(&server, &operator, first, "/resolve", &response).await;
    assert_eq!(resolved.json(), json!({"result": "done"}));
    let released = post(&server, &operator, second, "/release", &json!({})).await;
    assert_eq!(released.json(), json!({"result": "done"}));
    let again = post(&server, &operator, first, "/resolve", &response).await;
    assert_eq!(again.problem(412)["code"], "key_changed");
    let again = post(&server, &operator, second, "/release", &json!({})).await;
    assert_eq!(again.problem(404)["code"], "key_not_found");
    let mut replayed = 0;
    for key in ["a", "b"] {
        let retry = book(&server, &ann, key).await;
        assert_eq!(retry.status, 201);
        if retry.is_replayed() {
            assert_eq!(retry.body, b"found");
            replayed += 1;
        }
    }
    assert_eq!(replayed, 1);
}

// proves: bearer-token-required
#[tokio::test]
async fn an_open_service_has_no_such_routes() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    for path in ["/admin/keys", "/admin/keys/0123456789abcdef"] {
        assert_eq!(
            server.get(path).await.problem(404)["code"],
            "route_not_found"
        );
    }
    let release = server.request("POST", "/admin/keys/0123456789abcdef/release");
    send(release).await.problem(404);
}
