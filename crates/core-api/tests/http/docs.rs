//! What else the service says of itself: the page at `/docs`, and `OPTIONS`.

use serde_json::json;
use tempfile::tempdir;

use crate::{
    browser::Page,
    clients::is_installed,
    openapi::{MEMORY, description},
    server::{Server, send},
    tokens::{Tokens, get},
};

#[tokio::test]
async fn the_files_of_the_page_run_nothing_from_elsewhere() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    for (path, content_type) in [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/page.js", "text/javascript; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
        (
            "/docs/swagger-ui-bundle.js",
            "text/javascript; charset=utf-8",
        ),
        ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
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
        // The client undoes the coding of Swagger UI's files, and would not if the header did not name it.
        let text = String::from_utf8(reply.body).unwrap();
        if path.contains("swagger") {
            assert!(text.contains(".swagger-ui") || text.contains("SwaggerUIBundle"));
        } else {
            assert!(
                !text.contains("://") && !text.contains("innerHTML"),
                "{path}"
            );
        }
    }
    // The other files of Swagger UI are not served.
    assert_eq!(server.get("/docs/swagger-initializer.js").await.status, 404);
}

/// Executes the open operation once more, and returns the key that the request was sent with and the status that the page shows.
fn execute(page: &mut Page) -> (String, String) {
    page.evaluate("document.querySelector('.btn-clear')?.click()");
    page.wait_for("!document.querySelector('.live-responses-table')");
    page.click(".execute");
    page.wait_for("document.querySelector('.live-responses-table .response .response-col_status')");
    let key = page.text("document.querySelector('#key').textContent");
    let command = page.text("document.querySelector('.curl-command').innerText");
    assert!(
        command.contains(&format!("Idempotency-Key: {key}")),
        "{command}"
    );
    let status = "document.querySelector('.live-responses-table .response .response-col_status').innerText.trim()";
    (key, page.text(status))
}

// proves: docs-send-keys
#[tokio::test(flavor = "multi_thread")]
async fn the_page_books_in_chromium_with_a_token_and_without_a_network() {
    if !is_installed("chromium", "Debian: apt-get install chromium") {
        return;
    }
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let server = tokens.start(&[]);
    let origin = format!("http://{}", server.address);
    let profile = tokens.directory.path().join("profile");
    let mut page = Page::open(&profile, &format!("{origin}/docs"));
    page.show_on((1280, 900), "light");
    page.wait_for("document.querySelector('#operations-bookings-create_booking')");
    page.take_screenshot("docs");

    page.click("#operations-bookings-create_booking .opblock-summary");
    page.wait_for("document.querySelector('.try-out__btn')");
    page.click(".try-out__btn");
    page.wait_for("document.querySelector('.execute')");
    assert_eq!(execute(&mut page).1, "401");

    page.click(".btn.authorize");
    page.wait_for("document.querySelector('.auth-container input')");
    page.click(".auth-container input");
    page.call("Input.insertText", &json!({"text": ann}));
    page.click(".auth-btn-wrapper .authorize");
    page.wait_for("!document.querySelector('.auth-container input')");
    page.click(".auth-btn-wrapper .btn-done");
    page.wait_for("!document.querySelector('.auth-container')");

    let (first, status) = execute(&mut page);
    assert_eq!(status, "201");
    page.take_screenshot("docs-booked");
    page.click("#again");
    assert_eq!(execute(&mut page), (first.clone(), "201".to_owned()));
    let headers = "document.querySelector('.live-responses-table').innerText";
    assert!(page.text(headers).contains("idempotent-replayed: true"));
    assert_eq!(bookings(&server, &ann).await, 1);
    page.click("#again");
    let (second, status) = execute(&mut page);
    assert_eq!(status, "201");
    assert_ne!(first, second);
    assert_eq!(bookings(&server, &ann).await, 2);

    page.show_on((390, 844), "dark");
    page.wait_for("document.querySelector('.dark-mode')");
    page.take_screenshot("docs-phone-dark");
    page.assert_no_errors();
    let requested = page.requested();
    assert!(requested.contains(&format!("{origin}/openapi.json")));
    let is_own = |url: &String| url.starts_with(&origin) || url.starts_with("data:");
    assert!(requested.iter().all(is_own), "{requested:#?}");
}

async fn bookings(server: &Server, token: &str) -> usize {
    let reply = get(server, token, "/bookings").await;
    reply.json().as_array().unwrap().len()
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
