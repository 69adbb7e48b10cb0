//! What pages of other origins may do, tested with the requests that browsers send.

use reqwest::RequestBuilder;
use tempfile::tempdir;

use crate::server::{Reply, Server, booking, send};

const SHOP: &str = "https://shop.example";
const LOCAL: &str = "http://localhost:5173";

fn list(response: &Reply, name: &str) -> Vec<String> {
    let values = response.headers.get_all(name).iter();
    let values = values.flat_map(|value| value.to_str().unwrap().split(','));
    values.map(|value| value.trim().to_lowercase()).collect()
}

/// What Chromium sends before a booking.
fn preflight(server: &Server, path: &str, origin: &str, method: &str) -> RequestBuilder {
    server
        .request("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header(
            "Access-Control-Request-Headers",
            "authorization,content-type,idempotency-key,prefer",
        )
        .header("Sec-Fetch-Mode", "cors")
}

#[track_caller]
fn assert_readable(response: &Reply, origin: &str) {
    assert_eq!(response.header("access-control-allow-origin"), Some(origin));
    assert_eq!(response.header("access-control-allow-credentials"), None);
    let exposed = list(response, "access-control-expose-headers");
    for name in [
        "idempotent-replayed",
        "idempotency-expires",
        "idempotency-problem",
        "location",
        "retry-after",
        "link",
        "etag",
    ] {
        assert!(exposed.contains(&name.to_owned()), "{exposed:?}");
    }
    assert!(list(response, "vary").contains(&"origin".to_owned()));
}

// proves: preflight-never-refused, cors-works-with-protection
#[tokio::test]
async fn a_browser_that_asks_first_is_allowed_every_write() {
    let directory = tempdir().unwrap();
    let origins = format!("{SHOP},{LOCAL}");
    let arguments = ["--database", "memory:", "--cors-origin", &origins];
    let server = Server::start(directory.path(), &arguments);
    for (path, method) in [
        ("/bookings", "POST"),
        ("/bookings/1", "PUT"),
        ("/bookings/1", "PATCH"),
        ("/bookings/1", "DELETE"),
    ] {
        for origin in [SHOP, LOCAL] {
            let allowed = send(preflight(&server, path, origin, method)).await;
            assert_eq!(allowed.status, 200);
            assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
            let methods = list(&allowed, "access-control-allow-methods");
            assert!(methods.contains(&method.to_lowercase()), "{methods:?}");
            let mut headers = list(&allowed, "access-control-allow-headers");
            headers.sort_unstable();
            let expected = [
                "authorization",
                "content-type",
                "idempotency-key",
                "if-match",
                "prefer",
            ];
            assert_eq!(headers, expected);
            assert_eq!(allowed.header("access-control-max-age"), Some("600"));
            assert!(list(&allowed, "vary").contains(&"origin".to_owned()));
        }
        for origin in [
            "https://elsewhere.example",
            "null",
            "https://shop.example:8443",
        ] {
            let refused = send(preflight(&server, path, origin, method)).await;
            assert_eq!(refused.header("access-control-allow-origin"), None);
        }
    }
    assert!(server.bookings().await.is_empty());
}

// proves: cors-works-with-protection
#[tokio::test]
async fn a_page_can_read_replays_and_refusals_too() {
    let directory = tempdir().unwrap();
    let arguments = [
        "--fault-injection",
        "--cors-origin",
        SHOP,
        "--cors-origin",
        LOCAL,
    ];
    let server = Server::start(directory.path(), &arguments);
    let from = |origin: &str, request: RequestBuilder| send(request.header("Origin", origin));
    let book = |key, name| server.write("POST", "/bookings", key, &booking(name));
    let first = from(SHOP, book("k", "Ann")).await;
    assert_eq!(first.status, 201);
    assert_readable(&first, SHOP);
    // The stored response does not depend on the first origin.
    let replay = from(LOCAL, book("k", "Ann")).await;
    assert!(replay.is_replayed());
    assert_readable(&replay, LOCAL);
    let replay = send(book("k", "Ann")).await;
    assert_eq!(replay.header("access-control-allow-origin"), None);

    let refusals = [
        (422, book("k", "Bob")),
        (400, book("a,b", "Ann")),
        (413, book("large", &"A".repeat(100_000))),
        (415, server.request("POST", "/bookings").body("text")),
        (404, server.request("POST", "/nowhere")),
        (405, server.request("DELETE", "/bookings")),
        (500, book("p", "Ann").header("X-Fault-Panic", "1")),
        (503, book("f", "Ann").header("X-Fault-Status", "503")),
    ];
    for (status, request) in refusals {
        let refused = from(SHOP, request).await;
        refused.problem(status);
        assert_readable(&refused, SHOP);
    }
}

#[tokio::test]
async fn without_the_option_no_page_of_another_origin_is_let_in() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let refused = send(preflight(&server, "/bookings", SHOP, "POST")).await;
    assert_eq!(refused.status, 200);
    assert_eq!(refused.header("access-control-allow-origin"), None);
    let request = server.write("POST", "/bookings", "k", &booking("Ann"));
    let booked = send(request.header("Origin", SHOP)).await;
    assert_eq!(booked.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn origins_can_be_named_by_the_environment() {
    let directory = tempdir().unwrap();
    let origins = format!("{SHOP},{LOCAL}");
    let variables = [("CORE_API_CORS_ORIGIN", origins.as_str())];
    let server = Server::start_with(directory.path(), &["--database", "memory:"], &variables);
    for origin in [SHOP, LOCAL] {
        let allowed = send(preflight(&server, "/bookings", origin, "POST")).await;
        assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
    }
}
