//! What else the service says of itself: the page at `/docs`, and `OPTIONS`.

use tempfile::tempdir;

use crate::{
    clients::{Chromium, is_installed, output},
    openapi::{MEMORY, description},
    server::{Server, send},
};

#[tokio::test]
async fn the_page_of_the_description_runs_nothing_from_elsewhere() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    for (path, content_type) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/page.js", "text/javascript; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
    ] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (200, Some(content_type))
        );
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        let text = String::from_utf8(reply.body).unwrap();
        assert!(
            !text.contains("://") && !text.contains("innerHTML"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_page_shows_the_description_in_chromium_without_a_network() {
    if !is_installed("chromium", "Debian: apt-get install chromium") {
        return;
    }
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    let mut chromium = Chromium::command(&directory.path().join("profile"));
    // No name leads anywhere, so that whatever the page needs comes from the service.
    chromium
        .arg("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("http://{}/docs", server.address));
    let page = String::from_utf8(output(chromium).await.stdout).unwrap();
    for text in [
        "id=\"create_booking\" open",
        "id=\"ready\"",
        "stored for 3600 seconds",
        "stored for 86400 seconds",
        "idempotency_key_reused",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

// proves: preflight-never-refused, options-say-policy
#[tokio::test]
async fn options_says_which_methods_take_a_key_and_for_how_long_and_a_preflight_stays_one() {
    let directory = tempdir().unwrap();
    let shop = "https://shop.example";
    let plain = Server::start(directory.path(), &MEMORY);
    let with_cors = Server::start(
        directory.path(),
        &[&MEMORY[..], &["--cors-origin", shop]].concat(),
    );
    for (server, has_cors) in [(&plain, false), (&with_cors, true)] {
        let document = description(server).await;
        for path in ["/bookings", "/bookings/{id}"] {
            let ask = || server.request("OPTIONS", path);
            // A key means nothing to it, however it is written.
            let told = send(ask().header("Idempotency-Key", "a,b")).await;
            assert_eq!(told.status, 200);
            let link = told.header("link").unwrap();
            assert!(
                link.contains("</openapi.json>; rel=\"service-desc\""),
                "{link}"
            );
            let methods = told.json()["idempotency"].as_object().unwrap().clone();
            let item = document["paths"][path].as_object().unwrap();
            let with_keys = item
                .values()
                .filter(|operation| operation["x-idempotency"].is_object());
            assert_eq!(methods.len(), with_keys.count());
            for (method, policy) in methods {
                assert_eq!(policy, item[&method.to_lowercase()]["x-idempotency"]);
            }
            let preflight = ask()
                .header("Origin", shop)
                .header("Access-Control-Request-Method", "POST");
            let preflight = send(preflight).await;
            let origin = preflight.header("access-control-allow-origin");
            assert_eq!(origin.is_some(), has_cors);
            let allowed = preflight
                .header("access-control-allow-headers")
                .unwrap_or_default();
            assert_eq!(allowed.contains("idempotency-key"), has_cors);
        }
    }
}
