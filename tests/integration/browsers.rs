//! What `CorsLayer` allows browsers, with the names of the library's header fields.

use http::HeaderName;
use idempotency::{HttpConfig, IdempotencyBuilder};
use reqwest::Method;
use tests::reply::Reply;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::test_server::{BOOKING, TestServer};

const SHOP: &str = "https://shop.example";

fn renamed() -> HttpConfig {
    let name = HeaderName::from_static;
    HttpConfig::new()
        .with_key_header(name("x-request-key"))
        .with_former_key_header(name("x-former-key"))
        .with_replayed_header(name("x-again"))
        .with_expires_header(name("x-until"))
}

async fn server(http: HttpConfig) -> TestServer {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::exact(SHOP.parse().expect("an origin")))
        .allow_methods([Method::POST])
        .allow_headers(http.cors_allow_headers())
        .expose_headers(http.cors_expose_headers());
    let configure = |builder: IdempotencyBuilder| builder.with_http(http);
    TestServer::with(configure, |app| app.layer(cors)).await
}

/// Without any layer: the lists as they are.
// proves: cors-works-with-protection
#[test]
fn fields_that_were_renamed_are_listed_by_their_names() {
    let http = renamed();
    let names = |fields: Vec<HeaderName>| -> String {
        let names: Vec<_> = fields.iter().map(HeaderName::as_str).collect();
        names.join(", ")
    };
    assert_eq!(
        names(http.cors_allow_headers()),
        "x-request-key, x-former-key, prefer"
    );
    assert_eq!(
        names(http.cors_expose_headers()),
        "x-again, x-until, idempotency-problem, location, retry-after, link, etag"
    );
    let http = HttpConfig::new();
    assert_eq!(names(http.cors_allow_headers()), "idempotency-key, prefer");
}

// proves: preflight-never-refused, cors-works-with-protection
#[tokio::test]
async fn a_browser_is_let_in_with_the_key_and_reads_replays_and_refusals() {
    let server = server(renamed()).await;
    let preflight = server
        .request(Method::OPTIONS, "/required")
        .header("origin", SHOP)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-request-key");
    let allowed = Reply::to(preflight).await;
    assert_eq!(allowed.status(), "200 OK");
    assert_eq!(allowed.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(
        allowed.header("access-control-allow-headers"),
        Some("x-request-key,x-former-key,prefer")
    );
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));

    let post = |key: &str| {
        server
            .request(Method::POST, "/required")
            .header("x-request-key", key)
            .header("content-type", "application/json")
            .header("origin", SHOP)
            .body(BOOKING)
    };
    for (key, status) in [
        ("k", "201 Created"),
        ("k", "201 Created"),
        ("a,b", "400 Bad Request"),
    ] {
        let response = Reply::to(post(key)).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.header("access-control-allow-origin"), Some(SHOP));
        assert_eq!(
            response.header("access-control-expose-headers"),
            Some("x-again,x-until,idempotency-problem,location,retry-after,link,etag")
        );
    }
    assert_eq!(server.probe.runs(), 1);
}

/// A browser that adds a key by itself, as Firefox can: a quoted UUID on a POST that no script gave one.
// proves: browser-keys-harmless
#[tokio::test]
async fn a_key_that_the_browser_adds_protects_its_request_and_changes_no_other() {
    let server = TestServer::new().await;
    let post = |key: Option<&str>| {
        let request = server
            .request(Method::POST, "/bookings")
            .header("content-type", "application/json")
            .body(BOOKING);
        match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        }
    };
    let key = Some("\"8e03978e-40d5-43e8-bc93-6894a57f9324\"");
    let first = Reply::to(post(key)).await;
    first.assert_fresh(201);
    Reply::to(post(key)).await.assert_replays(&first);
    for run in 2..=3 {
        assert_eq!(Reply::to(post(None)).await.status(), "201 Created");
        assert_eq!(server.probe.runs(), run);
    }
}
