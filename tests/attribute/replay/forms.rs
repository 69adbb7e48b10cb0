//! How the function is named, and what it takes.

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::{HeaderMap, Request, StatusCode},
    response::IntoResponse,
    routing::post,
};
use idempotency::{Idempotency, MemoryStore, ReplayWith, idempotent};

use super::{App, Claims, Id, Minted, SECRET, Tokens, VALUE, outcomes};
use crate::support::{call, protected, send};

#[idempotent(ttl_seconds = 60, replay = show)]
async fn create(State(tokens): State<Tokens>) -> Minted {
    tokens.mint()
}

async fn show(State(tokens): State<Tokens>, ReplayWith(id): ReplayWith<Id>) -> String {
    tokens.show(&id)
}

#[idempotent(replay = show_listed(State<Tokens>, Claims, ReplayWith<Id>), principal = Claims)]
async fn create_listed(State(tokens): State<Tokens>, _: Claims) -> impl IntoResponse {
    tokens.mint()
}

async fn show_listed(
    State(tokens): State<Tokens>,
    Claims(subject): Claims,
    ReplayWith(id): ReplayWith<Id>,
) -> String {
    format!("{} for {subject}", tokens.show(&id))
}

#[idempotent(replay = show_in_state, engine = "state")]
async fn create_in_state(State(app): State<App>) -> Minted {
    app.tokens.mint()
}

async fn show_in_state(State(app): State<App>, ReplayWith(id): ReplayWith<Id>) -> String {
    app.tokens.show(&id)
}

#[idempotent(principal = Claims, engine = "state", replay = Shown::everything)]
async fn create_with_all(claims: Claims, State(app): State<App>) -> Minted {
    assert_eq!(claims.0, "ann");
    app.tokens.mint()
}

struct Shown;

impl Shown {
    /// Extractors of the head, and the body last, as a handler has them.
    async fn everything(
        State(tokens): State<Tokens>,
        Path(shop): Path<String>,
        headers: HeaderMap,
        Claims(subject): Claims,
        ReplayWith(id): ReplayWith<Id>,
        body: String,
    ) -> (StatusCode, Json<[String; 5]>) {
        let agent = headers["user-agent"].to_str().expect("text");
        let shown = [
            shop,
            agent.to_owned(),
            subject.to_owned(),
            tokens.show(&id),
            body,
        ];
        (StatusCode::CREATED, Json(shown))
    }

    #[idempotent(replay = Self::without_state)]
    async fn create(Extension(tokens): Extension<Tokens>) -> Minted {
        tokens.mint()
    }

    async fn without_state(
        Extension(tokens): Extension<Tokens>,
        ReplayWith(id): ReplayWith<Id>,
    ) -> Result<Json<String>, StatusCode> {
        Ok(Json(tokens.show(&id)))
    }
}

// proves: rebuilt-response-not-stored, only-replays-marked
#[tokio::test]
async fn a_retry_gets_what_the_function_makes_of_the_value_and_the_present_state() {
    let engine = Idempotency::new(MemoryStore::new());
    let tokens = Tokens::named("ann");
    let app = Router::new()
        .route("/tokens", post(create))
        .with_state(tokens.clone())
        .layer(engine.extension());
    let first = send(&app, "POST", "/tokens", "k", "{}").await;
    first.assert_fresh(201);
    assert_eq!(first.text(), SECRET);
    assert_eq!(first.header("x-token"), Some(SECRET));
    assert_eq!(tokens.counts(), (1, 0));
    let stored = outcomes(&engine).await;
    assert_eq!(stored, [[VALUE.as_slice(), br#"{"number":1}"#].concat()]);

    for (rebuilt, name) in [(1, "ann"), (2, "bob")] {
        tokens.rename(name);
        let retry = send(&app, "POST", "/tokens", "k", "{}").await;
        assert_eq!(retry.status(), "200 OK");
        assert_eq!(retry.text(), format!("token 1 of {name}"));
        assert!(retry.is_replay());
        assert_eq!(
            retry.header("idempotency-expires"),
            first.header("idempotency-expires")
        );
        assert_eq!(retry.header("location"), None);
        assert_eq!(tokens.counts(), (1, rebuilt));
    }
    // Its response is not stored either.
    assert_eq!(outcomes(&engine).await, stored);
    let other = send(&app, "POST", "/tokens", "k", "[]").await;
    assert_eq!(other.json()["code"], "idempotency_key_reused");
    assert_eq!(tokens.counts(), (1, 2));
}

// proves: records-encrypted-and-purgeable
#[tokio::test]
async fn a_value_is_sealed_if_there_is_a_secret() {
    let store = MemoryStore::new();
    let engine = Idempotency::builder(store.clone())
        .with_secret(b"a secret of thirty-two characters")
        .build();
    let app = Router::new()
        .route("/tokens", post(create))
        .with_state(Tokens::named("ann"))
        .layer(engine.extension());
    let first = send(&app, "POST", "/tokens", "k", "{}").await;
    first.assert_fresh(201);
    let retry = send(&app, "POST", "/tokens", "k", "{}").await;
    assert_eq!(retry.text(), "token 1 of ann");
    let in_store = outcomes(&Idempotency::new(store)).await.concat();
    assert!(!String::from_utf8_lossy(&in_store).contains("number"));
}

// proves: unauthorized-gets-no-replay, rebuilt-response-not-stored
#[tokio::test]
async fn a_function_gets_the_principal_that_was_verified_before() {
    let tokens = Tokens::named("ann");
    let routes = Router::new()
        .route("/tokens", post(create_listed))
        .with_state(tokens.clone());
    let app = protected(routes);
    let request = |authorization: Option<&str>| {
        let request = Request::post("/tokens").header("idempotency-key", "k");
        let request = authorization.into_iter().fold(request, |request, value| {
            request.header("authorization", value)
        });
        request.body("{}".into()).expect("a request")
    };
    call(&app, request(None)).await.assert_fresh(201);
    let retry = call(&app, request(None)).await;
    assert!(retry.is_replay());
    assert_eq!(retry.text(), "token 1 of ann for ann");
    // Once for each request, though the function takes it too.
    let proved = || tokens.0.proved.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(proved(), 2);
    let refused = call(&app, request(Some("a revoked token"))).await;
    assert_eq!(refused.status(), "401 Unauthorized");
    assert_eq!((proved(), tokens.counts()), (3, (1, 1)));
}

// proves: rebuilt-response-not-stored
#[tokio::test]
async fn a_function_takes_every_extractor() {
    let tokens = Tokens::named("ann");
    let state = App {
        tokens: tokens.clone(),
        idempotency: Idempotency::new(MemoryStore::new()),
    };
    let app = Router::new()
        .route("/state", post(create_in_state))
        .route("/shops/{shop}/tokens", post(create_with_all))
        .with_state(state.clone())
        .merge(
            Router::new()
                .route("/none", post(Shown::create))
                .layer((Extension(tokens.clone()), state.idempotency.extension())),
        );
    for (path, shown) in [
        ("/state", "token 1 of ann"),
        ("/none", r#""token 2 of ann""#),
        (
            "/shops/7/tokens",
            r#"["7","test","ann","token 3 of ann","{}"]"#,
        ),
    ] {
        let request = || {
            let request = Request::post(path).header("idempotency-key", path.replace('/', "-"));
            let request = request.header("user-agent", "test").body("{}".into());
            request.expect("a request")
        };
        let first = call(&app, request()).await;
        assert_eq!(
            (first.status(), first.text()),
            ("201 Created".into(), SECRET)
        );
        let retry = call(&app, request()).await;
        assert!(retry.is_replay(), "{path}: {retry:?}");
        assert_eq!(retry.text(), shown);
    }
    assert_eq!(tokens.counts(), (3, 3));
}

// proves: keyless-request-passes
#[tokio::test]
async fn without_a_key_the_value_changes_nothing() {
    let tokens = Tokens::named("ann");
    let routes = Router::new()
        .route("/tokens", post(create))
        .with_state(tokens.clone());
    let app = protected(routes);
    for minted in 1..3 {
        let request = Request::post("/tokens").body("{}".into());
        let response = call(&app, request.expect("a request")).await;
        response.assert_fresh(201);
        assert_eq!(response.text(), SECRET);
        assert_eq!(tokens.counts(), (minted, 0));
    }
    // A unit test calls the handler.
    assert_eq!(create(State(tokens)).await.3, SECRET);
}

// proves: policy-page-published
#[test]
fn a_document_says_that_responses_are_rebuilt() {
    let engine = Idempotency::new(MemoryStore::new());
    let described = |options: &idempotency::Options| {
        let mut document = serde_json::json!({ "paths": { "/": { "post": {
            "operationId": "create", "responses": { "201": { "description": "" } },
        } } } });
        let done = engine.describe_operation(&mut document, "create", options);
        done.expect("an operation");
        let operation = &document["paths"]["/"]["post"];
        let fields = &operation["responses"]["201"]["headers"];
        let marker = fields["Idempotent-Replayed"]["description"].to_string();
        (operation["x-idempotency"]["replay"].clone(), marker)
    };
    let (replay, marker) = described(create.options());
    assert_eq!(replay, "rebuilt");
    assert!(!marker.contains("stored"), "{marker}");
    let (replay, marker) = described(&idempotency::Options::new());
    assert_eq!(replay, "stored");
    assert!(marker.contains("stored"), "{marker}");
}
