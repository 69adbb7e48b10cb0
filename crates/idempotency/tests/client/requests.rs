//! What cannot be sent as often as needed is not sent at all.

use futures_util::stream;
use idempotency::client::{Intent, SendError};
use reqwest::{Body, RequestBuilder};

use crate::{
    client,
    script::{Script, reply, status},
};

async fn refused(script: &Script, request: RequestBuilder) -> SendError {
    let sent = client().send(&Intent::new(), request).await;
    assert!(script.arrived().is_empty(), "{sent:?}");
    sent.expect_err("nothing is sent")
}

// proves: client-refuses-unrepeatable-requests
#[tokio::test]
async fn a_body_that_can_be_sent_only_once_is_refused_before_the_first_attempt() {
    let script = Script::start([status("201 Created")]).await;
    let chunks = stream::iter([Ok::<_, std::io::Error>("5 EUR")]);
    let request = client().post(&script.url).body(Body::wrap_stream(chunks));
    let error = refused(&script, request).await;
    assert!(matches!(error, SendError::BodyNotRepeatable), "{error:?}");
}

// proves: client-refuses-unrepeatable-requests
#[tokio::test]
async fn a_key_beside_the_intents_is_refused() {
    let script = Script::start([status("201 Created")]).await;
    let request = client().post(&script.url).header("Idempotency-Key", "7");
    let error = refused(&script, request).await;
    assert!(matches!(error, SendError::KeyInRequest), "{error:?}");
}

#[tokio::test]
async fn a_request_that_cannot_be_built_is_an_error() {
    let script = Script::start([status("201 Created")]).await;
    let request = client().post(&script.url).header("X-Line", "a\nb");
    let error = refused(&script, request).await;
    assert!(matches!(error, SendError::InvalidRequest(_)), "{error:?}");
    let error = refused(&script, client().post("no URL")).await;
    assert!(matches!(error, SendError::InvalidRequest(_)), "{error:?}");
}

/// A page of a proxy is no response of the operation, however long it is.
// proves: client-repeats-same-request
#[tokio::test]
async fn a_response_that_allows_a_retry_may_be_longer_than_the_limit() {
    let page = reply("502 Bad Gateway", &[], "123456789");
    let script = Script::start([page, reply("201 Created", &[], "12345678")]).await;
    let client = client().with_max_response(8);
    let sent = client.send(&Intent::new(), client.post(&script.url)).await;
    assert_eq!(sent.expect("a response").attempts(), 2);
}

#[tokio::test]
async fn a_response_is_not_read_beyond_the_limit() {
    let script = Script::start([reply("201 Created", &[], "123456789")]).await;
    let client = client().with_max_response(8);
    let sent = client.send(&Intent::new(), client.post(&script.url)).await;
    let Err(SendError::ResponseTooLong { status }) = sent else {
        panic!("{sent:?}");
    };
    assert_eq!(status, 201);
    assert_eq!(script.arrived().len(), 1);
    let client = client.with_max_response(9);
    let sent = client.send(&Intent::new(), client.post(&script.url)).await;
    assert_eq!(sent.expect("a response").body(), "123456789");
}
