//! Keys and bookings of several subjects of `core-api`, on each server.

use std::process::Command;

use clap::Parser;
use core_api::{Config, Server};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    reply::Reply,
    servers::{firestore::FirestoreEmulator, redis::RedisServer},
};

use crate::{
    firestore::unused_project,
    postgres::{database, sql},
    service::Service,
};

/// The tokens of two subjects and of an operator, and their file.
struct Tokens {
    folder: TempDir,
    ann: String,
    bob: String,
    chief: String,
}

impl Tokens {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [ann, bob, chief] =
            [("ann", "caller"), ("bob", "caller"), ("chief", "operator")].map(|(subject, role)| {
                let made = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"))
                    .args(["token", "new", subject, "--role", role, "--tokens"])
                    .arg(folder.path().join("tokens"))
                    .output()
                    .expect("a token");
                assert!(made.status.success(), "{made:?}");
                let token = String::from_utf8(made.stdout).expect("text");
                token.trim_end().to_owned()
            });
        Self {
            folder,
            ann,
            bob,
            chief,
        }
    }

    fn start(&self, options: &[&str], variables: &[(&str, &str)]) -> Service {
        let file = self.folder.path().join("tokens");
        let tokens = ["--tokens", file.to_str().expect("text")];
        Service::start_with(&[&tokens, options].concat(), variables)
    }

    /// Asserts that neither subject sees the other's bookings.
    async fn are_separate(&self, service: &Service) {
        let book = |token: &str, key: &str| Reply::to(service.booking(key).bearer_auth(token));
        let first = book(&self.ann, "k").await;
        assert_eq!(first.status, 201, "{first:?}");
        assert!(book(&self.ann, "k").await.is_replay());
        let own = book(&self.bob, "k").await;
        own.assert_fresh(201);
        assert_eq!(Reply::to(service.booking("k")).await.status, 401);
        let more = book(&self.ann, "l").await;

        let path = |response: &Reply| format!("/bookings/{}", id(response));
        let get = |token: &str, path: &str| {
            Reply::to(service.request(Method::GET, path).bearer_auth(token))
        };
        assert_eq!(get(&self.ann, &path(&first)).await.body, first.body);
        assert_eq!(get(&self.bob, &path(&first)).await.status, 404);
        let listed = async |token: &str, query: &str| {
            let reply = get(token, &format!("/bookings{query}")).await;
            let bookings: Vec<Value> = serde_json::from_slice(&reply.body).expect("bookings");
            let ids = bookings.iter().map(|booking| booking["id"].as_str());
            let ids = ids.map(|id| id.expect("an id").to_owned());
            ids.collect::<Vec<_>>()
        };
        assert_eq!(listed(&self.ann, "").await, [id(&more), id(&first)]);
        let rest = format!("?limit=1&after={}", id(&more));
        assert_eq!(listed(&self.ann, &rest).await, [id(&first)]);
        assert_eq!(listed(&self.bob, "").await, [id(&own)]);
        assert_eq!(listed(&self.chief, "").await.len(), 3);

        let write = |token: &str, method: Method, key: &str| -> RequestBuilder {
            let request = service.request(method, &path(&first)).bearer_auth(token);
            let request = request.header("Idempotency-Key", key);
            request.json(&json!({"status": "cancelled"}))
        };
        for method in [Method::PATCH, Method::DELETE] {
            let refused = Reply::to(write(&self.bob, method.clone(), method.as_str())).await;
            assert_eq!(refused.status, 404, "{method}");
        }
        assert_eq!(get(&self.ann, &path(&first)).await.body, first.body);
        for token in [&self.ann, &self.chief] {
            assert_eq!(
                Reply::to(write(token, Method::PATCH, "p")).await.status,
                200
            );
        }
        let response = Reply::to(write(&self.chief, Method::DELETE, "d")).await;
        assert_eq!(response.status, 204);
        assert_eq!(get(&self.ann, &path(&first)).await.status, 404);
    }

    /// Asserts that a subject may use three new keys in a minute and have two live ones, and that this is all it is refused.
    async fn are_limited(&self, options: &[&str], variables: &[(&str, &str)]) {
        let refused = |refused: Reply, code: &str| {
            refused.assert_problem(code);
            let seconds = refused.header("retry-after").expect("a field");
            seconds.parse::<u64>().expect("seconds")
        };
        for (limit, allowed, code, waits) in [
            (
                "--max-new-keys-per-minute",
                3,
                "idempotency_too_many_new_keys",
                1..=20,
            ),
            (
                "--max-live-keys",
                2,
                "idempotency_too_many_keys",
                3500..=3800,
            ),
        ] {
            let number = allowed.to_string();
            let options = [options, &[limit, number.as_str()]].concat();
            let service = self.start(&options, variables);
            let book = |token: &str, key: &str| {
                Reply::to(service.booking(&format!("{key}{limit}")).bearer_auth(token))
            };
            let mut booked = Vec::new();
            for key in 0..allowed {
                let reply = book(&self.ann, &key.to_string()).await;
                assert_eq!(reply.status, 201, "{reply:?}");
                booked.push(reply);
            }
            for _ in 0..2 {
                let seconds = refused(book(&self.ann, "more").await, code);
                assert!(waits.contains(&seconds), "{limit}: {seconds}");
            }
            for (key, first) in booked.iter().enumerate() {
                let retry = book(&self.ann, &key.to_string()).await;
                assert_eq!((retry.is_replay(), &retry.body), (true, &first.body));
            }
            assert_eq!(book(&self.bob, "0").await.status, 201);
            let keys = service.request(Method::GET, "/admin/keys?limit=1000");
            let keys = Reply::to(keys.bearer_auth(&self.chief)).await;
            let keys: Vec<Value> = serde_json::from_slice(&keys.body).expect("keys");
            let of_limit = keys.len() - if limit == "--max-live-keys" { 4 } else { 0 };
            assert_eq!(
                of_limit,
                allowed + 1,
                "nothing is stored for a refused request"
            );
            let metrics = Reply::to(service.request(Method::GET, "/metrics")).await;
            let metrics = String::from_utf8(metrics.body.to_vec()).expect("text");
            let outcome = match limit {
                "--max-live-keys" => "too_many_live_keys",
                _ => "too_many_new_keys",
            };
            let counted = format!("idempotency_requests_total{{outcome=\"{outcome}\"}} 2");
            assert!(metrics.contains(&counted), "{metrics}");
        }
    }
}

fn id(booking: &Reply) -> String {
    let booking: Value = serde_json::from_slice(&booking.body).expect("a booking");
    booking["id"].as_str().expect("an id").to_owned()
}

// proves: bookings-belong-to-subject, principals-are-separate, bearer-token-required
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subjects_are_separate_in_postgres() {
    let Some(url) = database().await else { return };
    let tokens = Tokens::new();
    tokens
        .are_separate(&tokens.start(&["--database", &url], &[]))
        .await;
}

// proves: bookings-belong-to-subject, principals-are-separate, bearer-token-required
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subjects_are_separate_in_firestore() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (tokens, address) = (Tokens::new(), emulator.address());
    let url = format!("firestore://{}", unused_project());
    let variables = [("FIRESTORE_EMULATOR_HOST", address.as_str())];
    let service = tokens.start(&["--database", &url], &variables);
    tokens.are_separate(&service).await;
}

// proves: bookings-belong-to-subject, principals-are-separate, bearer-token-required
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn subjects_are_separate_with_their_keys_in_redis() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let (tokens, url) = (Tokens::new(), redis.url());
    let options = ["--database", "memory:", "--idempotency-store", &url];
    tokens.are_separate(&tokens.start(&options, &[])).await;
}

// proves: new-keys-limited, live-keys-limited
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subject_that_sends_too_many_keys_is_refused_in_postgres() {
    let Some(url) = database().await else { return };
    Tokens::new().are_limited(&["--database", &url], &[]).await;
}

// proves: new-keys-limited, live-keys-limited
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subject_that_sends_too_many_keys_is_refused_in_firestore() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let address = emulator.address();
    let url = format!("firestore://{}", unused_project());
    let variables = [("FIRESTORE_EMULATOR_HOST", address.as_str())];
    let options = ["--database", url.as_str()];
    Tokens::new().are_limited(&options, &variables).await;
}

// proves: new-keys-limited, live-keys-limited
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_subject_that_sends_too_many_keys_is_refused_with_its_keys_in_redis() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let url = redis.url();
    let options = ["--database", "memory:", "--idempotency-store", &url];
    Tokens::new().are_limited(&options, &[]).await;
}

/// Tables of version 1 had no owner.
// proves: bookings-belong-to-subject
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_of_the_version_without_owners_is_taken_over() {
    let Some(url) = database().await else { return };
    let options = ["--database", url.as_str()];
    let before = Service::start(&options);
    let first = Reply::to(before.booking("k")).await;
    drop(before);
    sql(
        &url,
        "alter table bookings drop column owner; update bookings_schema set version = 1",
    )
    .await;
    // Two services that start together, and then one that finds the new version.
    let together = std::thread::scope(|scope| {
        let one = scope.spawn(|| Service::start(&options));
        let other = Service::start(&options);
        [one.join().expect("a service"), other]
    });
    for service in together.into_iter().chain([Service::start(&options)]) {
        let retry = Reply::to(service.booking("k")).await;
        assert_eq!((retry.is_replay(), &retry.body), (true, &first.body));
        assert_eq!(service.bookings().await, 1);
    }
    let tokens = Tokens::new();
    let service = tokens.start(&options, &[]);
    for (token, expected) in [(&tokens.ann, 404), (&tokens.chief, 200)] {
        let path = format!("/bookings/{}", id(&first));
        let request = service.request(Method::GET, &path).bearer_auth(token);
        assert_eq!(Reply::to(request).await.status, expected);
    }
}

// proves: scope-share-limited
#[tokio::test]
async fn a_store_on_a_server_takes_no_limit() {
    let Some(redis) = RedisServer::start(&[]) else {
        return;
    };
    let url = redis.url();
    let arguments = [
        "core-api",
        "--listen",
        "127.0.0.1:0",
        "--database",
        "memory:",
    ];
    let limited = [
        "--idempotency-store",
        &url,
        "--idempotency-store-limit",
        "20000",
    ];
    let config = Config::try_parse_from(arguments.iter().chain(&limited)).expect("options");
    let refused = Server::start(&config).await.expect_err("a refusal");
    let refused = refused.to_string();
    assert!(
        refused.starts_with("--idempotency-store-limit 20000: "),
        "{refused}"
    );
}
