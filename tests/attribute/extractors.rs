//! Extractors and routers that applications use and that the examples do not show.

#![deny(warnings)]

use std::net::SocketAddr;

use axum::{
    Json, Router,
    body::Body,
    extract::{ConnectInfo, MatchedPath, Multipart, NestedPath, OriginalUri, Path},
    http::{Request, StatusCode, Uri, header},
    routing::post,
};
use idempotency::idempotent;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{call, protected};
use tests::reply::Reply;

#[derive(Deserialize)]
struct Note {
    text: String,
}

#[idempotent]
async fn optional(note: Option<Json<Note>>) -> (StatusCode, String) {
    let text = note.map_or_else(|| "no note".to_owned(), |Json(note)| note.text);
    (StatusCode::CREATED, text)
}

#[idempotent]
async fn upload(mut form: Multipart) -> Result<String, StatusCode> {
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|error| error.status())? {
        let name = field
            .file_name()
            .or(field.name())
            .unwrap_or_default()
            .to_owned();
        let content = field.text().await.map_err(|error| error.status())?;
        parts.push(format!("{name}: {content}"));
    }
    Ok(parts.join(", "))
}

#[idempotent]
async fn peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, body: String) -> String {
    format!("{body} from {peer}")
}

#[idempotent]
async fn place(
    Path(hotel): Path<String>,
    matched: MatchedPath,
    nested: NestedPath,
    OriginalUri(original): OriginalUri,
    uri: Uri,
) -> String {
    format!(
        "{hotel} {} {} {original} {uri}",
        matched.as_str(),
        nested.as_str()
    )
}

async fn post_to(
    app: &Router,
    path: &str,
    key: &str,
    content_type: Option<&str>,
    body: &str,
) -> Reply {
    let mut request = Request::post(path).header("idempotency-key", key);
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let request = request
        .body(Body::from(body.to_owned()))
        .expect("a request");
    call(app, request).await
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn an_optional_body_is_there_or_not_and_replays_either_way() {
    let app = protected(Router::new().route("/notes", post(optional)));
    for (key, content_type, body, expected) in [
        ("with", JSON, r#"{"text":"late"}"#, "late"),
        ("without", None, "", "no note"),
    ] {
        for replayed in [false, true] {
            let reply = post_to(&app, "/notes", key, content_type, body).await;
            assert_eq!(reply.status, StatusCode::CREATED, "{key}");
            assert_eq!(reply.body, expected, "{key}");
            assert_eq!(reply.is_replay(), replayed, "{key}");
        }
    }
    // The extractor refuses a body that is not JSON, and the key stays free.
    let broken = post_to(&app, "/notes", "broken", JSON, "{").await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let mended = post_to(&app, "/notes", "broken", JSON, r#"{"text":"mended"}"#).await;
    assert_eq!((mended.text(), mended.is_replay()), ("mended", false));
    // A request with a body differs from one without.
    let added = post_to(&app, "/notes", "without", JSON, r#"{"text":"late"}"#).await;
    assert_eq!(added.status, StatusCode::UNPROCESSABLE_ENTITY);
}

// proves: multipart-boundary-ignored
#[tokio::test]
async fn a_form_with_a_file_is_recognised_by_its_parts() {
    let app = protected(Router::new().route("/files", post(upload)));
    let send = async |boundary: &str, file: &str| {
        let disposition = "Content-Disposition: form-data";
        let body = format!(
            "--{boundary}\r\n{disposition}; name=\"title\"\r\n\r\nInvoice\r\n\
             --{boundary}\r\n{disposition}; name=\"file\"; filename=\"a.txt\"\r\n\
             Content-Type: text/plain\r\n\r\n{file}\r\n--{boundary}--\r\n"
        );
        let content_type = format!("multipart/form-data; boundary={boundary}");
        post_to(&app, "/files", "k", Some(&content_type), &body).await
    };
    let first = send("one", "42 euros").await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.body, "title: Invoice, a.txt: 42 euros");
    let again = send("another", "42 euros").await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(again.body, first.body);
    let other = send("one", "43 euros").await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// Sends the request on a new connection, and returns that connection's address and the response.
async fn on_a_connection(server: SocketAddr, key: &str) -> (SocketAddr, String) {
    let mut connection = TcpStream::connect(server).await.expect("a connection");
    let client = connection.local_addr().expect("an address");
    let key = match key {
        "" => String::new(),
        key => format!("Idempotency-Key: \"{key}\"\r\n"),
    };
    let request = format!(
        "POST /peer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}Content-Length: 2\r\n\r\nhi"
    );
    let sent = connection.write_all(request.as_bytes()).await;
    sent.expect("it is sent");
    let mut response = String::new();
    let read = connection.read_to_string(&mut response).await;
    read.expect("a response");
    (client, response)
}

// proves: replay-keeps-body, replay-shows-past-state
#[tokio::test]
async fn a_handler_that_asks_for_its_clients_address_replays_to_another_one() {
    let app = protected(Router::new().route("/peer", post(peer)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("an address");
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let served = tokio::spawn(async { axum::serve(listener, service).await });
    let (first, response) = on_a_connection(server, "k").await;
    assert!(
        response.ends_with(&format!("hi from {first}")),
        "{response}"
    );
    let (second, replay) = on_a_connection(server, "k").await;
    assert_ne!(first, second);
    assert!(replay.contains("idempotent-replayed: true"), "{replay}");
    assert!(replay.ends_with(&format!("hi from {first}")), "{replay}");
    let (keyless, response) = on_a_connection(server, "").await;
    assert!(
        response.ends_with(&format!("hi from {keyless}")),
        "{response}"
    );
    served.abort();
}

// proves: nested-path-counts-whole
#[tokio::test]
async fn a_nested_handler_sees_its_paths_and_is_one_for_each_place() {
    let hotels = || Router::new().route("/bookings", post(place));
    let app = Router::new()
        .nest("/v1", Router::new().nest("/hotels/{hotel}", hotels()))
        .nest("/v2/{hotel}", hotels());
    let app = protected(app);
    let (v1, v2) = ("/v1/hotels/ritz/bookings", "/v2/ritz/bookings");
    for (key, path, expected) in [
        (
            "1",
            v1,
            "ritz /v1/hotels/{hotel}/bookings /v1/hotels/{hotel} /v1/hotels/ritz/bookings /bookings",
        ),
        (
            "2",
            v2,
            "ritz /v2/{hotel}/bookings /v2/{hotel} /v2/ritz/bookings /bookings",
        ),
    ] {
        for replayed in [false, true] {
            let reply = post_to(&app, path, key, None, "").await;
            assert_eq!(reply.body, expected);
            assert_eq!(reply.is_replay(), replayed, "{path}");
        }
    }
    let elsewhere = post_to(&app, v2, "1", None, "").await;
    assert_eq!(elsewhere.status, StatusCode::UNPROCESSABLE_ENTITY);
}
