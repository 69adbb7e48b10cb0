//! Any request at all to protected handlers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes, to_bytes},
    extract::State,
    http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri},
    routing::any,
};
use idempotency::{
    Idempotency, IdempotencyKey, IdempotencyLayer, MemoryStore, idempotent, key::KeySyntax,
};
use tokio::runtime::Builder;
use tower::ServiceExt;

/// The parts of a request, from a text such as HTTP/1 has. Fields that cannot be sent are left out.
struct Asked {
    method: Method,
    uri: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Vec<u8>,
}

/// What a client sees of a response.
struct Seen {
    status: StatusCode,
    is_replay: bool,
    /// The code of a refusal.
    problem: Option<String>,
    body: Bytes,
}

type Effects = Arc<AtomicUsize>;

/// Sends the request twice, and once more with another body. A request with one good key runs once at most, and one with a bad key never.
///
/// # Panics
///
/// If something else happens, or the service fails.
pub fn check(text: &[u8]) {
    let Some(asked) = Asked::read(text) else {
        return;
    };
    let effects = Effects::default();
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let service = service(&effects);
        let first = asked.send(&service, b"").await;
        let after_first = effects.load(Ordering::SeqCst);
        let second = asked.send(&service, b"").await;
        let other = asked.send(&service, b"!").await;
        let runs = effects.load(Ordering::SeqCst);
        let shown = text.escape_ascii();
        for seen in [&first, &second, &other] {
            // Of gRPC, and of credentials that change with each attempt, the service says that they cannot be protected.
            let is_said = seen.problem.as_deref() == Some("idempotency_misconfigured");
            assert!(
                is_said || !seen.status.is_server_error(),
                "{}: {shown}",
                seen.status
            );
            assert!(!is_said || runs == 0, "{runs} runs: {shown}");
        }
        match asked.key() {
            None => assert!(runs <= 3 && !second.is_replay, "{runs} runs: {shown}"),
            Some(Err(())) => {
                assert_eq!(runs, 0, "{shown}");
                assert!(first.status.is_client_error(), "{}: {shown}", first.status);
            }
            Some(Ok(())) => {
                assert!(runs <= 1, "{runs} runs: {shown}");
                assert_eq!(runs, after_first, "{shown}");
                assert_eq!(second.is_replay, runs == 1, "{shown}");
                if runs == 1 {
                    assert_eq!(
                        (second.status, &second.body),
                        (first.status, &first.body),
                        "{shown}"
                    );
                }
            }
        }
    });
}

fn service(effects: &Effects) -> Router {
    let idempotency = Idempotency::new(MemoryStore::new());
    let layered = Router::new()
        .route("/layered", any(book))
        .layer(IdempotencyLayer::new(idempotency.clone()));
    Router::new()
        .route("/bookings", any(book_once))
        .merge(layered)
        .layer(Extension(idempotency))
        .with_state(Arc::clone(effects))
}

#[idempotent(ttl_seconds = 3600)]
async fn book_once(state: State<Effects>, body: Bytes) -> (StatusCode, Vec<u8>) {
    book(state, body).await
}

/// Responds with the run's number and the body.
async fn book(State(effects): State<Effects>, body: Bytes) -> (StatusCode, Vec<u8>) {
    let number = effects.fetch_add(1, Ordering::SeqCst);
    let response = [number.to_string().as_bytes(), &body].concat();
    (StatusCode::CREATED, response)
}

impl Asked {
    fn read(text: &[u8]) -> Option<Self> {
        let (first, mut rest) = line(text);
        let mut words = first.splitn(2, |&byte| byte == b' ');
        let method = Method::from_bytes(words.next()?).ok()?;
        let uri: Uri = Uri::try_from(words.next()?).ok()?;
        let mut fields = Vec::new();
        loop {
            let (field, next) = line(rest);
            rest = next;
            if field.is_empty() {
                break;
            }
            let mut parts = field.splitn(2, |&byte| byte == b':');
            let name = HeaderName::from_bytes(parts.next()?);
            let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
            if let (Ok(name), Ok(value)) = (name, value) {
                fields.push((name, value));
            }
        }
        Some(Self {
            method,
            uri,
            fields,
            body: rest.to_vec(),
        })
    }

    /// Whether the request has a key that protects it, and whether that one is good.
    fn key(&self) -> Option<Result<(), ()>> {
        let is_protected = match self.method.as_str() {
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "QUERY" | "CONNECT" => false,
            "PUT" | "DELETE" => self.uri.path() == "/bookings",
            _ => true,
        };
        if !is_protected || !matches!(self.uri.path(), "/bookings" | "/layered") {
            return None;
        }
        let fields = self.fields.iter();
        let mut lines = fields.filter(|(name, _)| name == "idempotency-key");
        let (_, value) = lines.next()?;
        let key = IdempotencyKey::from_field_value(value.as_bytes(), KeySyntax::QuotedOrBare);
        Some(match (key, lines.next()) {
            (Ok(_), None) => Ok(()),
            _ => Err(()),
        })
    }

    async fn send(&self, service: &Router, more: &[u8]) -> Seen {
        let body = [&self.body, more].concat();
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        for (name, value) in &self.fields {
            request.headers_mut().append(name, value.clone());
        }
        let Ok(response) = service.clone().oneshot(request).await;
        let (head, body) = response.into_parts();
        let problem = head.headers.get("idempotency-problem");
        let problem = problem.map(|code| code.to_str().expect("ASCII").to_owned());
        Seen {
            problem,
            status: head.status,
            is_replay: head.headers.contains_key("idempotent-replayed"),
            body: to_bytes(body, usize::MAX).await.expect("a whole body"),
        }
    }
}

/// The first line, and what comes after it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b'\n') {
        Some(end) => (text[..end].trim_ascii_end(), &text[end + 1..]),
        None => (text, &[]),
    }
}
