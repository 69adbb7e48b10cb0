//! Which forms are the same request: a client that retries an upload writes it with a new boundary.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode, header};
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore};
use proptest::prelude::*;
use tower::ServiceExt;

/// A form as a client sends it.
#[derive(Clone, Debug, PartialEq)]
struct Form {
    media_type: String,
    body: Vec<u8>,
}

impl Form {
    fn new(boundary: &str, body: impl AsRef<[u8]>) -> Self {
        Self {
            media_type: format!("multipart/form-data; boundary={boundary}"),
            body: body.as_ref().to_vec(),
        }
    }

    /// A form of these parts, each with its header fields and its content.
    fn of(boundary: &str, parts: &[(String, Vec<u8>)]) -> Self {
        let mut body = Vec::new();
        for (fields, content) in parts {
            body.extend(format!("--{boundary}\r\n{fields}\r\n\r\n").as_bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").as_bytes());
        Self::new(boundary, body)
    }

    fn request(&self) -> Request<Body> {
        Request::post("/upload")
            .header("idempotency-key", "k")
            .header(header::CONTENT_TYPE, &self.media_type)
            .body(self.body.clone().into())
            .expect("a request")
    }
}

/// Whether the second counts as a retry of the first.
async fn are_same(one: &Form, other: &Form) -> bool {
    let layer = IdempotencyLayer::new(Idempotency::new(MemoryStore::new()));
    let app = Router::new()
        .route("/upload", post(async || "uploaded"))
        .layer(layer);
    let send = async |form: &Form| -> Response<Body> {
        let Ok(response) = app.clone().oneshot(form.request()).await;
        response
    };
    assert_eq!(send(one).await.status(), StatusCode::OK, "{one:?}");
    let response = send(other).await;
    match response.status() {
        StatusCode::OK => assert!(response.headers().contains_key("idempotent-replayed")),
        StatusCode::UNPROCESSABLE_ENTITY => return false,
        status => panic!("{status} for {other:?}"),
    }
    true
}

fn file(name: &str, content: &[u8]) -> (String, Vec<u8>) {
    let fields = format!(
        "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/png"
    );
    (fields, content.to_vec())
}

fn value(name: &str, content: &str) -> (String, Vec<u8>) {
    let fields = format!("Content-Disposition: form-data; name=\"{name}\"");
    (fields, content.as_bytes().to_vec())
}

fn upload() -> [(String, Vec<u8>); 3] {
    [
        value("title", "Me at the sea"),
        file("me.png", b"\x89PNG\r\n\x1a\n\r\n--\0"),
        value("empty", ""),
    ]
}

// proves: multipart-boundary-ignored
#[tokio::test]
async fn another_boundary_is_the_same_form() {
    let first = Form::of("----WebKitFormBoundary7MA4YWxkTrZu0gW", &upload());
    for boundary in [
        "----WebKitFormBoundaryabcdefgh12345678",
        "------------------------d74496d66958873e",
        "2c3f0a96d4e94ea9bb5c9a2f1a3a1d24",
    ] {
        let other = Form::of(boundary, &upload());
        assert!(are_same(&first, &other).await, "{boundary}");
        let mut quoted = other.clone();
        quoted.media_type =
            format!("Multipart/Form-Data;charset=\"utf-8\"; boundary=\"{boundary}\"");
        assert!(are_same(&first, &quoted).await, "{boundary}");
        let mut open = other;
        open.body.truncate(open.body.len() - 2);
        assert!(are_same(&first, &open).await, "{boundary}");
    }
}

// proves: multipart-boundary-ignored
#[tokio::test]
async fn a_form_with_anything_else_in_it_is_another_one() {
    let first = Form::of("one", &upload());
    let [title, png, empty] = upload();
    for parts in [
        vec![title.clone(), png.clone()],
        vec![png.clone(), title.clone(), empty.clone()],
        vec![value("title", "Me at the Sea"), png.clone(), empty.clone()],
        vec![value("name", "Me at the sea"), png.clone(), empty.clone()],
        vec![title.clone(), file("you.png", &png.1), empty.clone()],
        vec![
            title.clone(),
            file("me.png", b"\x89PNG\r\n\x1a\n\r\n--\x01"),
            empty.clone(),
        ],
        vec![
            title.clone(),
            (png.0.to_lowercase(), png.1.clone()),
            empty.clone(),
        ],
        vec![title, png, empty.clone(), empty],
    ] {
        for boundary in ["one", "two"] {
            assert!(
                !are_same(&first, &Form::of(boundary, &parts)).await,
                "{parts:?}"
            );
        }
    }
}

// proves: multipart-boundary-ignored
#[tokio::test]
async fn what_is_not_strictly_a_form_counts_byte_by_byte() {
    let disposition = "Content-Disposition: form-data; name=\"a\"";
    let many = "X-A: b\r\n".repeat(32);
    let loose = |boundary: &str| {
        [
            format!("--{boundary}\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!("--{boundary}\r\nContent-Type: text/plain\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!("--{boundary}\r\n{disposition}\r\n\r\nx\r\n--{boundary}--\r\nepilogue"),
            format!("preamble\r\n--{boundary}\r\n{disposition}\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!("\r\n--{boundary}\r\n{disposition}\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!("--{boundary} \r\n{disposition}\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!("--{boundary}\n{disposition}\n\nx\n--{boundary}--\n"),
            format!("--{boundary}\r\n{disposition}\nX-A: b\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!("--{boundary}\r\n{disposition};\r\n filename=b\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!(
                "--{boundary}\r\n{disposition}\r\n\r\nx\r\n--{boundary}x\r\n--{boundary}--\r\n"
            ),
            format!("--{boundary}\r\n{disposition}\r\n\r\nx\r\n--{boundary}\r\n"),
            format!(
                "--{boundary}\r\n{disposition}\r\n--{boundary}: a\r\n\r\nx\r\n--{boundary}--\r\n"
            ),
            format!("--{boundary}\r\n{many}{disposition}\r\n\r\nx\r\n--{boundary}--\r\n"),
            format!("--{boundary}--\r\n"),
        ]
    };
    for (one, two) in loose("one").into_iter().zip(loose("two")) {
        let (one, two) = (Form::new("one", one), Form::new("two", two));
        assert!(!are_same(&one, &two).await, "{two:?}");
        assert!(are_same(&one, &one).await, "{one:?}");
    }
    // The boundary then counts too.
    let (one, other) = (
        Form::new("one", "--one--\r\n"),
        Form::new("on", "--one--\r\n"),
    );
    assert!(!are_same(&one, &other).await);
    // Nor is a body with an unusual boundary treated as a form.
    let form = |boundary: &str, media_type: &str| {
        let mut form = Form::of(boundary, &upload());
        form.media_type = media_type.replace('*', boundary);
        form
    };
    let long = "b".repeat(71);
    for media_type in [
        "multipart/form-data; boundary=*; boundary=one",
        "multipart/form-data; Boundary=*",
        "multipart/form-data; boundary=\"*\\\"\"",
        "multipart/form-data; boundary =*",
        "multipart/form-data; boundary=*;",
        "multipart/form-data",
        "multipart/mixed; boundary=*",
    ] {
        let other = form("two", media_type);
        assert!(
            !are_same(&form("one", media_type), &other).await,
            "{media_type}"
        );
    }
    assert!(!are_same(&Form::of("one", &upload()), &Form::of(&long, &upload())).await);
}

/// How the parser that axum uses reads a form: the header fields and the content of each part, or `None`.
async fn read(form: &Form) -> Option<Vec<(HeaderMap, Bytes)>> {
    let boundary = multer::parse_boundary(&form.media_type).ok()?;
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from(form.body.clone()))]);
    let mut form = multer::Multipart::new(body, boundary);
    let mut parts = Vec::new();
    while let Some(part) = form.next_field().await.ok()? {
        parts.push((part.headers().clone(), part.bytes().await.ok()?));
    }
    Some(parts)
}

fn part() -> impl Strategy<Value = (String, Vec<u8>)> {
    let fields = prop_oneof![
        4 => "Content-Disposition: form-data; name=\"[a-c]{1,2}\"",
        2 => "Content-Type: text/[a-c]{1,2}\r\ncontent-disposition: form-data; name=[a-c]",
        1 => "[A-c:\r\n -]{0,12}",
    ];
    let content = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "(\r\n|--|one|two|-|a){0,6}".prop_map(String::into_bytes),
    ];
    (fields, content)
}

/// A form and the same one under another boundary, either of which may be damaged.
fn forms() -> impl Strategy<Value = (Form, Form)> {
    let damage = || {
        prop_oneof![
            2 => Just(None),
            1 => (any::<prop::sample::Index>(), "(\r\n|\n|\r|--|one|two|:| |\"|;|=){0,2}", 0..3_usize).prop_map(Some),
        ]
    };
    let boundaries =
        prop::sample::select(vec!["one", "two", "on", "oneone", "\"one\"", "o'n", "-"]);
    (
        prop::collection::vec(part(), 0..4),
        boundaries.clone(),
        boundaries,
        damage(),
        damage(),
    )
        .prop_map(|(parts, one, two, damage_one, damage_two)| {
            let write = |boundary: &str, damage: Option<(prop::sample::Index, String, usize)>| {
                let mut form = Form::of(boundary.trim_matches('"'), &parts);
                form.media_type = format!("multipart/form-data; boundary={boundary}");
                if let Some((place, pieces, taken)) = damage {
                    let place = place.index(form.body.len());
                    let end = form.body.len().min(place + taken);
                    form.body.splice(place..end, pieces.bytes());
                }
                form
            };
            (write(one, damage_one), write(two, damage_two))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    // proves: multipart-boundary-ignored
    #[test]
    fn two_forms_are_the_same_only_where_the_usual_parser_reads_both_alike((one, two) in forms()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (same, first, second) = runtime.expect("a runtime").block_on(async {
            (are_same(&one, &two).await, read(&one).await, read(&two).await)
        });
        if same {
            prop_assert_eq!(first, second);
        }
    }
}
