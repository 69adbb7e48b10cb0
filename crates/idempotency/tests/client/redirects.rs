//! A key is for the service to which it was sent.

use idempotency::client::Intent;

use crate::{
    client,
    script::{Script, reply, status},
};

// proves: client-keeps-key-at-home
#[tokio::test]
async fn a_redirect_within_the_service_takes_the_key_along() {
    for moved in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let script = Script::start([
            reply(moved, &[("Location", "/v2/bookings")], ""),
            status("201 Created"),
        ])
        .await;
        let request = client().post(&script.url).body("5 EUR");
        let sent = client().send(&Intent::new(), request).await;
        assert_eq!(sent.expect("a response").status(), 201);
        let arrived = script.arrived();
        assert_eq!(arrived.len(), 2);
        assert!(arrived[1].text.starts_with("POST /v2/bookings"));
        assert!(arrived[1].text.ends_with("5 EUR"));
        assert_eq!(arrived[0].key(), arrived[1].key());
    }
}

// proves: client-keeps-key-at-home
#[tokio::test]
async fn a_redirect_to_another_origin_is_the_response() {
    let other = Script::start([status("201 Created")]).await;
    for moved in ["307 Temporary Redirect", "308 Permanent Redirect"] {
        let script = Script::start([reply(moved, &[("Location", &other.url)], "")]).await;
        let sent = client()
            .send(&Intent::new(), client().post(&script.url))
            .await;
        let response = sent.expect("a response");
        assert!(moved.starts_with(response.status().as_str()));
        assert_eq!(response.headers()["location"], other.url);
    }
    assert!(other.arrived().is_empty());
}

#[tokio::test]
async fn a_redirect_to_the_result_is_the_response() {
    for moved in ["301 Moved Permanently", "302 Found", "303 See Other"] {
        let script = Script::start([reply(moved, &[("Location", "/bookings/7")], "")]).await;
        let sent = client()
            .send(&Intent::new(), client().post(&script.url))
            .await;
        let response = sent.expect("a response");
        assert!(moved.starts_with(response.status().as_str()));
        assert_eq!(script.arrived().len(), 1);
    }
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let circle = reply("307 Temporary Redirect", &[("Location", "/bookings")], "");
    let script = Script::start([circle]).await;
    let sent = client()
        .send(&Intent::new(), client().post(&script.url))
        .await;
    assert_eq!(sent.expect("a response").status(), 307);
    assert_eq!(script.arrived().len(), 11);
}
