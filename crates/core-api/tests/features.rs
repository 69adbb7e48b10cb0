//! A program that is built without some of the databases.
#![cfg(not(all(
    feature = "firestore",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
)))]

use clap::Parser;
use core_api::{Config, Server};

#[tokio::test]
async fn a_database_that_is_not_compiled_in_ends_the_start_and_its_feature_is_named() {
    let databases = [
        (
            "firestore",
            "firestore://my-project",
            cfg!(feature = "firestore"),
        ),
        (
            "postgres",
            "postgres://localhost/bookings",
            cfg!(feature = "postgres"),
        ),
        ("redis", "redis://localhost", cfg!(feature = "redis")),
        ("sqlite", "sqlite:core-api.db", cfg!(feature = "sqlite")),
    ];
    for (feature, url, _) in databases.into_iter().filter(|(.., is_there)| !is_there) {
        let listen = ["core-api", "--listen", "127.0.0.1:0"];
        let as_database = ["--database", url];
        let as_store = ["--database", "memory:", "--idempotency-store", url];
        let options = if feature == "redis" {
            vec![&as_store[..]]
        } else {
            vec![&as_database[..], &as_store[..]]
        };
        for options in options {
            let config = Config::try_parse_from([&listen, options].concat()).unwrap();
            let error = Server::start(&config).await.unwrap_err().to_string();
            let option = options[options.len() - 2];
            let expected = format!(
                "{option} {url}: this program is built without the feature {feature}; build it with --features {feature}"
            );
            assert_eq!(error, expected);
        }
    }
}

#[tokio::test]
async fn without_any_database_it_serves_from_memory() {
    let arguments = [
        "core-api",
        "--listen",
        "127.0.0.1:0",
        "--database",
        "memory:",
    ];
    let config = Config::try_parse_from(arguments).unwrap();
    let server = Server::start(&config).await.unwrap();
    assert_ne!(server.address().port(), 0);
    server.serve(async {}).await.unwrap();
}
