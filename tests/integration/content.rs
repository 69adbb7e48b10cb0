//! Header fields that describe a request's content, and which of them are part of the fingerprint.

use reqwest::{Method, RequestBuilder};

use crate::{
    fingerprints::{different, same},
    test_server::TestServer,
};

// proves: empty-body-has-no-type
#[tokio::test]
async fn what_describes_the_content_counts_only_where_it_says_something() {
    let server = TestServer::new().await;
    let request = |key: &str, body: &'static str, fields: &[(&str, &str)]| {
        let request = server
            .request(Method::POST, "/layered/bookings")
            .header("idempotency-key", key)
            .body(body);
        let with =
            |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
        fields.iter().fold(request, with)
    };
    for (number, fields) in [
        [("content-type", "application/json")].as_slice(),
        &[("content-type", "text/plain"), ("content-encoding", "gzip")],
        &[("content-type", "multipart/form-data; boundary=a")],
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("empty-{number}");
        same(
            request(&key, "", &[]),
            request(&key, "", fields),
            "an empty body",
        )
        .await;
        let key = format!("full-{number}");
        different(
            request(&key, "x", &[]),
            request(&key, "x", fields),
            "a body",
        )
        .await;
    }
    for (number, (one, other)) in [
        ("", "identity"),
        ("gzip", "GZIP"),
        ("gzip", "identity, gzip"),
        ("gzip, br", "gzip ,\tbr"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("same-{number}");
        let coded = |coding: &'static str| request(&key, "x", &[("content-encoding", coding)]);
        same(coded(one), coded(other), other).await;
    }
    for (number, (one, other)) in [("gzip", "br"), ("gzip, br", "br, gzip")]
        .into_iter()
        .enumerate()
    {
        let key = format!("other-{number}");
        let coded = |coding: &'static str| request(&key, "x", &[("content-encoding", coding)]);
        different(coded(one), coded(other), other).await;
    }
}
