//! Bearer tokens: which callers are let in, and the responses to others.

use std::{fs, path::PathBuf};

use reqwest::RequestBuilder;
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};

use crate::{
    server::{Reply, Server, booking, command, send},
    token_file::{read_again, refused_with},
};

/// A folder with a file of tokens, and the tokens in it.
pub(crate) struct Tokens {
    pub(crate) directory: TempDir,
}

impl Tokens {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempdir().unwrap(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    /// A new token, which is let in.
    pub(crate) fn add(&self, arguments: &[&str]) -> String {
        let output = command(self.directory.path())
            .args(["token", "new", "--tokens", "tokens"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let token = String::from_utf8(output.stdout).unwrap();
        token.strip_suffix('\n').unwrap().to_owned()
    }

    /// Takes away every token of these subjects.
    pub(crate) fn revoke(&self, subject: &str) {
        let text = fs::read_to_string(self.file()).unwrap();
        let subject = format!(" subject={subject} ");
        let kept = text.lines().filter(|line| !line.contains(&subject));
        let kept: String = kept.map(|line| format!("{line}\n")).collect();
        fs::write(self.file(), kept).unwrap();
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Server {
        let arguments = [&["--tokens", "tokens"], arguments].concat();
        Server::start(self.directory.path(), &arguments)
    }
}

/// A booking under this key, always the same one.
pub(crate) async fn book(server: &Server, token: &str, key: &str) -> Reply {
    let request = server.write("POST", "/bookings", key, &booking("Ann"));
    send(request.bearer_auth(token)).await
}

pub(crate) async fn get(server: &Server, token: &str, path: &str) -> Reply {
    send(server.request("GET", path).bearer_auth(token)).await
}

// proves: bearer-token-required, authorization-before-key
#[tokio::test]
async fn a_request_without_a_valid_token_is_refused_as_rfc_6750_says() {
    let tokens = Tokens::new();
    let token = tokens.add(&["ann"]);
    let other = tokens.add(&["bob"]);
    let server = tokens.start(&[]);
    let ask = || server.request("GET", "/bookings");
    let with = |value: &str| ask().header("Authorization", value);
    let none = "Bearer realm=\"core-api\"";
    let invalid = "Bearer realm=\"core-api\", error=\"invalid_token\"";
    let request = "Bearer realm=\"core-api\", error=\"invalid_request\"";
    let cases: Vec<(&str, RequestBuilder, u16, &str)> = vec![
        ("nothing", ask(), 401, none),
        ("another scheme", with(&format!("Basic {token}")), 401, none),
        ("no scheme", with(&token), 401, none),
        ("no token", with("Bearer"), 401, none),
        ("an empty token", with("Bearer "), 401, none),
        ("an unknown token", with("Bearer unknown"), 401, invalid),
        (
            "a longer token",
            with(&format!("Bearer {token}0")),
            401,
            invalid,
        ),
        (
            "two tokens",
            with(&format!("Bearer {token} {other}")),
            401,
            invalid,
        ),
        (
            "two credentials",
            with(&format!("Bearer {token}, Bearer {token}")),
            401,
            invalid,
        ),
        (
            "two fields",
            with(&format!("Bearer {token}")).header("Authorization", format!("Bearer {other}")),
            400,
            request,
        ),
        (
            "the same field twice",
            with(&format!("Bearer {token}")).header("Authorization", format!("Bearer {token}")),
            400,
            request,
        ),
        (
            "a token in the query",
            server.request("GET", &format!("/bookings?access_token={token}")),
            401,
            none,
        ),
        (
            "a token in another field",
            ask()
                .header("X-Api-Key", &token)
                .header("Cookie", format!("access_token={token}")),
            401,
            none,
        ),
    ];
    for (case, request, status, challenge) in cases {
        let refused = send(request).await;
        let problem = refused.problem(status);
        assert_eq!(
            refused.header("www-authenticate"),
            Some(challenge),
            "{case}"
        );
        assert_eq!(refused.header("cache-control"), Some("no-store"), "{case}");
        assert!(!problem.to_string().contains(&token), "{case}: {problem}");
    }
    for value in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER   {token}"),
    ] {
        assert_eq!(send(with(&value)).await.status, 200, "{value}");
    }
    for (method, path) in [
        ("POST", "/bookings"),
        ("HEAD", "/bookings"),
        ("GET", "/bookings/1"),
        ("PUT", "/bookings/1"),
        ("PATCH", "/bookings/1"),
        ("DELETE", "/bookings/1"),
    ] {
        let request = server.request(method, path).header("Idempotency-Key", "k");
        assert_eq!(send(request).await.status, 401, "{method} {path}");
    }
}

// proves: bearer-token-required, authorization-before-key
#[tokio::test]
async fn a_role_that_is_not_enough_is_refused_before_the_key() {
    let tokens = Tokens::new();
    let caller = tokens.add(&["ann"]);
    let viewer = tokens.add(&["ann", "--role", "viewer"]);
    let server = tokens.start(&[]);
    let first = book(&server, &caller, "k").await;
    assert_eq!(first.status, 201);
    // With the same subject it would get the stored response.
    let refused = book(&server, &viewer, "k").await;
    assert_eq!(refused.problem(403)["code"], "role_insufficient");
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer realm=\"core-api\", error=\"insufficient_scope\"")
    );
    let path = first.header("location").unwrap();
    for method in ["PUT", "PATCH", "DELETE"] {
        let request = server.write(method, path, "w", &booking("Bob"));
        assert_eq!(
            send(request.bearer_auth(&viewer)).await.status,
            403,
            "{method}"
        );
    }
    assert_eq!(get(&server, &viewer, path).await.body, first.body);
    let listed = get(&server, &viewer, "/bookings").await;
    assert_eq!(listed.json().as_array().unwrap().len(), 1);
}

/// The store is down meanwhile: a request that reaches it gets 503.
// proves: unauthorized-gets-no-replay, revoked-permission-blocks-replay, authorization-before-key, token-file-read-again
#[tokio::test]
async fn a_token_that_was_taken_away_gets_no_stored_response_and_asks_no_store() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let server = tokens.start(&["--idempotency-store", "sqlite:keys.db"]);
    let first = book(&server, &ann, "k").await;
    assert_eq!(first.status, 201);
    assert!(book(&server, &ann, "k").await.is_replayed());

    tokens.revoke("ann");
    let refreshed = tokens.add(&["ann"]);
    let bob = tokens.add(&["bob"]);
    read_again(&server, 2).await;
    let keys = Connection::open(tokens.directory.path().join("keys.db")).unwrap();
    keys.execute_batch("alter table idempotency_records rename to away")
        .unwrap();
    assert_eq!(
        book(&server, &ann, "k").await.problem(401)["code"],
        "token_invalid"
    );
    let response = send(server.write("POST", "/bookings", "k", &booking("Ann"))).await;
    assert_eq!(response.status, 401);
    assert_eq!(book(&server, &refreshed, "k").await.status, 503);
    keys.execute_batch("alter table away rename to idempotency_records")
        .unwrap();
    assert_eq!(book(&server, &ann, "k").await.status, 401);
    assert_eq!(book(&server, &ann, "new").await.status, 401);

    let retry = book(&server, &refreshed, "k").await;
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
    assert_eq!(book(&server, &bob, "k").await.status, 201);
    assert_eq!(
        get(&server, &refreshed, "/bookings")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

// proves: bearer-token-required
#[tokio::test]
async fn a_token_that_has_expired_is_not_valid() {
    let tokens = Tokens::new();
    let old = tokens.add(&["ann", "--expires", "2020-01-01T00:00:00Z"]);
    let new = tokens.add(&["ann", "--expires", "9999-01-01T00:00:00+02:00"]);
    let server = tokens.start(&[]);
    assert_eq!(
        get(&server, &old, "/bookings").await.problem(401)["code"],
        "token_invalid"
    );
    assert_eq!(get(&server, &new, "/bookings").await.status, 200);
}

// proves: bearer-token-required
#[tokio::test]
async fn health_is_open_unless_it_is_protected() {
    let tokens = Tokens::new();
    let viewer = tokens.add(&["prober", "--role", "viewer"]);
    let server = tokens.start(&[]);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    drop(server);
    let variables = [
        ("CORE_API_TOKENS", "tokens"),
        ("CORE_API_PROTECT_HEALTH", "true"),
    ];
    let server = Server::start_with(tokens.directory.path(), &[], &variables);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.problem(401)["code"], "token_missing");
        assert_eq!(get(&server, &viewer, path).await.status, 200, "{path}");
    }
    assert_eq!(server.get("/nowhere").await.status, 404);
    drop(server);
    for option in ["--protect-health", "--protect-docs"] {
        let error = refused_with(tokens.directory.path(), &[option]);
        let expected = format!("core-api: {option}: it needs --tokens");
        assert!(error.starts_with(&expected), "{error}");
    }
}

// proves: bearer-token-required
#[tokio::test]
async fn the_description_is_open_unless_it_is_protected() {
    let tokens = Tokens::new();
    let viewer = tokens.add(&["ann", "--role", "viewer"]);
    let server = tokens.start(&["--protect-docs"]);
    for path in [
        "/openapi.json",
        "/docs",
        "/docs/page.js",
        "/docs/swagger-ui-bundle.js",
    ] {
        assert_eq!(server.get(path).await.problem(401)["code"], "token_missing");
        assert_eq!(get(&server, &viewer, path).await.status, 200, "{path}");
    }
    for path in ["/", "/page/page.js", "/readyz"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn without_tokens_the_service_is_open_and_says_so() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    server
        .wait_for_log("the service is open: without --tokens")
        .await;
    assert_eq!(server.get("/bookings").await.status, 200);
    let with = server.request("GET", "/bookings").bearer_auth("anything");
    assert_eq!(send(with).await.status, 200);
}

/// Preflight requests have no credentials, and scripts have to see why they were refused.
// proves: cors-works-with-protection
#[tokio::test]
async fn pages_of_other_origins_can_send_a_token_and_read_a_refusal() {
    let tokens = Tokens::new();
    let token = tokens.add(&["ann"]);
    let origin = "https://shop.example";
    let server = tokens.start(&["--cors-origin", origin]);
    let asked = server
        .request("OPTIONS", "/bookings")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization,idempotency-key",
        );
    assert_eq!(
        send(asked).await.header("access-control-allow-origin"),
        Some(origin)
    );
    let request = || server.request("GET", "/bookings").header("Origin", origin);
    let refused = send(request()).await;
    refused.problem(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(origin));
    assert_eq!(send(request().bearer_auth(token)).await.status, 200);
}

/// Keys from before the tokens belonged to the holder of the credentials, or to every caller.
// proves: bearer-token-required
#[tokio::test]
async fn what_was_stored_while_the_service_was_open_belongs_to_no_subject() {
    let tokens = Tokens::new();
    let (ann, chief) = (
        tokens.add(&["ann"]),
        tokens.add(&["chief", "--role", "operator"]),
    );
    let mut server = Server::start(tokens.directory.path(), &[]);
    let before = book(&server, &ann, "k").await;
    server.terminate();
    server.wait();
    let server = tokens.start(&[]);
    let path = before.header("location").unwrap();
    assert_eq!(get(&server, &ann, path).await.status, 404);
    assert_eq!(get(&server, &chief, path).await.body, before.body);
    let own = book(&server, &ann, "k").await;
    assert!(own.status == 201 && !own.is_replayed());
}
