//! A program that is built without some of its features.
#![cfg(not(all(
    feature = "firestore",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite",
    feature = "swagger-ui"
)))]

use clap::Parser;
use core_api::{Config, Server};
use serde_json::Value;
use tokio::sync::oneshot;

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

async fn in_memory() -> Server {
    let arguments = [
        "core-api",
        "--listen",
        "127.0.0.1:0",
        "--database",
        "memory:",
    ];
    let config = Config::try_parse_from(arguments).unwrap();
    Server::start(&config).await.unwrap()
}

#[tokio::test]
async fn without_any_database_it_serves_from_memory() {
    let server = in_memory().await;
    assert_ne!(server.address().port(), 0);
    server.serve(async {}).await.unwrap();
}

#[tokio::test]
async fn without_swagger_ui_there_is_no_page_of_the_description_and_nothing_leads_to_it() {
    let server = in_memory().await;
    let origin = format!("http://{}", server.address());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(async { drop(stopped.await) }));
    let client = reqwest::Client::new();
    let get = async |path: &str| client.get(format!("{origin}{path}")).send().await.unwrap();
    let is_there = cfg!(feature = "swagger-ui");
    let status = if is_there { 200 } else { 404 };
    for path in ["/docs", "/docs/page.js", "/docs/swagger-ui-bundle.js"] {
        assert_eq!(get(path).await.status(), status, "{path}");
    }
    let description: Value = get("/openapi.json").await.json().await.unwrap();
    assert_eq!(description["paths"]["/docs"].is_object(), is_there);
    let service: Value = get("/page/service").await.json().await.unwrap();
    assert_eq!(service["docs"], is_there);
    let bookings = format!("{origin}/bookings");
    let options = client.request(reqwest::Method::OPTIONS, bookings);
    let link = options.send().await.unwrap().headers()["link"].clone();
    assert_eq!(link.to_str().unwrap().contains("/docs"), is_there);
    drop((client, stop));
    served.await.unwrap().unwrap();
}
