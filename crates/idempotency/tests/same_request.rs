//! Which HTTP requests count as equal, and which field lines are a key, before axum sees them.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode, header, request::Builder};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore};
use tower::ServiceExt;

const BOOKING: &str =
    r#"{"service_id":"s1","customer_name":"Ann","date":"2026-12-01","time":"10:00"}"#;

/// One protected router at the root and, with the same engine, nested under two prefixes.
fn app() -> Router {
    let protection = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()));
    let bookings = Router::new()
        .route("/bookings", any(async || "booked"))
        .route("/bookings/{id}/pay", any(async || "paid"))
        .layer(protection);
    Router::new()
        .nest("/v1", bookings.clone())
        .nest("/v2", bookings.clone())
        .merge(bookings)
}

/// The responses to two requests under one key.
async fn responses(one: Request<Body>, other: Request<Body>) -> [Response<Body>; 2] {
    let app = app();
    let send = async |mut request: Request<Body>| {
        let key = "k".parse().expect("a field value");
        request.headers_mut().insert("idempotency-key", key);
        let Ok(response) = app.clone().oneshot(request).await;
        response
    };
    [send(one).await, send(other).await]
}

async fn assert_same(one: Request<Body>, other: Request<Body>) {
    let told = format!("{one:?} and {other:?}");
    let [first, second] = responses(one, other).await;
    assert_eq!(first.status(), StatusCode::OK, "{told}");
    assert_eq!(second.status(), StatusCode::OK, "{told}");
    assert!(!is_replay(&first), "{told}");
    assert!(is_replay(&second), "{told}");
}

async fn assert_different(one: Request<Body>, other: Request<Body>) {
    let told = format!("{one:?} and {other:?}");
    let [first, second] = responses(one, other).await;
    assert_eq!(first.status(), StatusCode::OK, "{told}");
    assert_eq!(second.status(), StatusCode::UNPROCESSABLE_ENTITY, "{told}");
    assert!(!is_replay(&second), "{told}");
}

fn is_replay(response: &Response<Body>) -> bool {
    response.headers().contains_key("idempotent-replayed")
}

fn with_body(builder: Builder, body: impl Into<Body>) -> Request<Body> {
    builder.body(body.into()).expect("a request")
}

fn post(target: &str) -> Request<Body> {
    json(Request::post(target), BOOKING)
}

fn json(builder: Builder, body: impl Into<Body>) -> Request<Body> {
    typed(builder, "application/json", body)
}

fn typed(builder: Builder, media_type: &str, body: impl Into<Body>) -> Request<Body> {
    with_body(builder.header(header::CONTENT_TYPE, media_type), body)
}

fn bookings(media_type: &str, body: impl Into<Body>) -> Request<Body> {
    typed(Request::post("/bookings"), media_type, body)
}

// proves: other-body-refused, json-layout-ignored, equal-numbers-equal
// proves: numbers-beyond-double-differ, null-and-array-order-count
#[tokio::test]
async fn a_json_body_counts_by_its_value() {
    const JSON: &str = "application/json";
    let spelled = r#"{ "time": "10:00", "date": "2026-12-01", "customer_name": "\u0041nn", "service_id": "s1" }"#;
    assert_same(bookings(JSON, BOOKING), bookings(JSON, spelled)).await;
    assert_same(bookings(JSON, "[1]"), bookings(JSON, "[1.0]")).await;
    let later = BOOKING.replace("10:00", "11:00");
    assert_different(bookings(JSON, BOOKING), bookings(JSON, later)).await;
    let [one, other] = ["9007199254740992", "9007199254740993"];
    assert_different(bookings(JSON, one), bookings(JSON, other)).await;
    assert_different(bookings(JSON, r#"{"a":null}"#), bookings(JSON, "{}")).await;
    let problem = "application/problem+json";
    assert_same(bookings(problem, BOOKING), bookings(problem, spelled)).await;
}

// proves: repeated-json-names-bytewise, invalid-json-bytewise, other-media-types-bytewise
#[tokio::test]
async fn any_other_body_counts_byte_by_byte() {
    for (one, other) in [
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":1, "a":2}"#),
        ("{} x", "{}  x"),
        ("\u{feff}{}", "{}"),
        (r#""\ud83d""#, r#""\uD83D""#),
        // The first is JSON. The second is not, but could be mistaken for the first's canonical form.
        (r#""\n""#, "\"\n\""),
    ] {
        let media_type = "application/json";
        assert_different(bookings(media_type, one), bookings(media_type, other)).await;
        assert_same(bookings(media_type, one), bookings(media_type, one)).await;
    }
    for media_type in ["text/plain", "application/x-www-form-urlencoded"] {
        assert_different(bookings(media_type, "[1]"), bookings(media_type, "[1 ]")).await;
        assert_same(bookings(media_type, "[1]"), bookings(media_type, "[1]")).await;
    }
    assert_different(
        with_body(Request::post("/bookings"), "[1]"),
        with_body(Request::post("/bookings"), "[1 ]"),
    )
    .await;
}

// proves: other-method-or-path-refused, path-counts-as-sent
#[tokio::test]
async fn another_method_or_path_is_another_request() {
    assert_different(
        post("/bookings"),
        json(Request::patch("/bookings"), BOOKING),
    )
    .await;
    assert_different(post("/bookings"), post("/bookings/1/pay")).await;
    assert_different(post("/bookings/1/pay"), post("/bookings/2/pay")).await;
}

// proves: query-counts-as-written
#[tokio::test]
async fn the_query_counts_as_it_is_written() {
    assert_same(post("/bookings?a=1&b=2"), post("/bookings?a=1&b=2")).await;
    for (one, other) in [
        ("/bookings", "/bookings?dry=1"),
        ("/bookings?dry=0", "/bookings?dry=1"),
        ("/bookings?a=1&b=2", "/bookings?b=2&a=1"),
        ("/bookings", "/bookings?"),
    ] {
        assert_different(post(one), post(other)).await;
    }
}

// proves: scheme-and-authority-ignored
#[tokio::test]
async fn scheme_authority_and_version_do_not_count() {
    assert_same(post("/bookings?a=1"), post("http://a.example/bookings?a=1")).await;
    assert_same(
        post("http://a.example/bookings"),
        post("https://b.example:8443/bookings"),
    )
    .await;
    let mut second_version = post("https://a.example/bookings");
    *second_version.version_mut() = http::Version::HTTP_2;
    assert_same(post("/bookings"), second_version).await;
}

// proves: nested-path-counts-whole
#[tokio::test]
async fn a_nested_router_counts_the_whole_path() {
    assert_same(post("/v1/bookings"), post("/v1/bookings")).await;
    assert_different(post("/v1/bookings"), post("/v2/bookings")).await;
    assert_different(post("/bookings"), post("/v2/bookings")).await;
}

// proves: media-type-parameters-ignored
#[tokio::test]
async fn parameters_and_case_of_a_media_type_do_not_count() {
    for media_type in [
        "application/json; charset=utf-8",
        "application/json;charset=utf-8",
        "application/json ; a=b",
        "Application/JSON",
    ] {
        let spaced = BOOKING.replace(',', " , ");
        assert_same(
            bookings("application/json", BOOKING),
            bookings(media_type, spaced),
        )
        .await;
    }
}

// proves: media-type-counts
#[tokio::test]
async fn another_media_type_is_another_request() {
    let merge_patch = "application/merge-patch+json";
    for media_type in ["text/plain", merge_patch, "application/jsonp", ""] {
        assert_different(
            bookings("application/json", BOOKING),
            bookings(media_type, BOOKING),
        )
        .await;
    }
    assert_different(
        bookings("application/json", BOOKING),
        with_body(Request::post("/bookings"), BOOKING),
    )
    .await;
}

// proves: empty-body-equals-none, body-framing-ignored
#[tokio::test]
async fn how_a_body_is_transferred_does_not_count() {
    assert_same(
        json(Request::post("/bookings"), Body::empty()),
        json(
            Request::post("/bookings").header(header::CONTENT_LENGTH, 0),
            "",
        ),
    )
    .await;
    let chunks = |size: usize| {
        let chunks: Vec<_> = BOOKING.as_bytes().chunks(size).collect();
        let frames = stream::iter(chunks)
            .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk))));
        bookings("application/json", Body::new(StreamBody::new(frames)))
    };
    assert_same(post("/bookings"), chunks(1)).await;
    assert_same(chunks(7), chunks(30)).await;

    let mut trailers = HeaderMap::new();
    trailers.insert("digest", "x".parse().expect("a field value"));
    let trailed = Full::from(BOOKING).with_trailers(async { Some(Ok(trailers)) });
    assert_same(
        post("/bookings"),
        bookings("application/json", Body::new(trailed)),
    )
    .await;
}

// proves: expect-header-ignored, exchange-headers-ignored
#[tokio::test]
async fn other_fields_do_not_count() {
    for (name, value) in [
        ("expect", "100-continue"),
        ("date", "Mon, 23 Nov 2026 10:00:00 GMT"),
        ("user-agent", "retrying/2"),
        ("traceparent", "00-1-2-01"),
        ("x-request-id", "17"),
        ("accept", "application/json"),
    ] {
        let other = json(Request::post("/bookings").header(name, value), BOOKING);
        assert_same(post("/bookings"), other).await;
    }
}

// proves: body-compared-decoded
#[tokio::test]
async fn an_encoded_body_is_another_request() {
    let encoded = |encoding: &str| {
        let builder = Request::post("/bookings").header(header::CONTENT_ENCODING, encoding);
        json(builder, BOOKING)
    };
    assert_same(encoded("br"), encoded("br")).await;
    assert_different(post("/bookings"), encoded("br")).await;
    assert_different(encoded("gzip"), encoded("br")).await;
}

// proves: different-key-lines-refused, equal-key-lines-refused, split-key-refused
#[tokio::test]
async fn two_lines_are_not_a_key() {
    for lines in [
        [r#""a""#, r#""b""#],
        [r#""a""#, r#""a""#],
        ["a", "a"],
        [r#""foo"#, r#"bar""#],
        ["a", ""],
    ] {
        let builder = lines
            .iter()
            .fold(Request::post("/bookings"), |builder, line| {
                builder.header("idempotency-key", *line)
            });
        let Ok(response) = app().oneshot(json(builder, BOOKING)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{lines:?}");
    }
}
