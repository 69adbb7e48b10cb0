//! Responses that a handler does not want to be stored.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::{
    Extension, Router,
    http::{HeaderMap, HeaderValue, StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{
    Disposition, Execution, HttpConfig, Idempotency, IdempotencyLayer, MemoryStore, SqliteDatabase,
    SqliteStore, Store, idempotent,
    store::{ListRequest, Phase, StoreError},
};

use crate::support::send;

static RUNS: AtomicUsize = AtomicUsize::new(0);

const TOKEN: &str = "a token that is shown once";

fn token(status: StatusCode) -> Response {
    RUNS.fetch_add(1, Ordering::SeqCst);
    let location = [(LOCATION, "/tokens/1")];
    (status, Extension(Disposition::Tombstone), location, TOKEN).into_response()
}

#[idempotent(ttl_seconds = 60)]
async fn create() -> Response {
    token(StatusCode::CREATED)
}

#[idempotent(ttl_seconds = 60)]
async fn fail() -> Response {
    token(StatusCode::INTERNAL_SERVER_ERROR)
}

#[idempotent(ttl_seconds = 60, transactional)]
async fn commit(Extension(database): Extension<SqliteDatabase>, execution: Execution) -> Response {
    let nothing = database.transaction(|_| Ok(()));
    let committed = execution.commit(nothing, token(StatusCode::CREATED));
    committed.await.into_response()
}

async fn create_in_layer() -> Response {
    token(StatusCode::CREATED)
}

/// The bytes of every outcome in the store.
async fn outcomes(store: &dyn Store) -> Result<Vec<u8>, StoreError> {
    let mut outcomes = Vec::new();
    for listed in store.list(&ListRequest::new(10)).await? {
        match listed.record?.phase {
            Phase::Completed { outcome } => outcomes.extend(outcome),
            other => panic!("not completed: {other:?}"),
        }
    }
    Ok(outcomes)
}

// proves: oversized-response-leaves-tombstone, records-encrypted-and-purgeable
#[tokio::test]
async fn a_response_that_must_not_be_stored_reaches_its_first_client_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = SqliteDatabase::open(folder.path().join("rows.db")).expect("a database");
    let in_file = Idempotency::new(SqliteStore::new(database.clone()).expect("a store"));
    let in_memory = Idempotency::new(MemoryStore::new());
    let handlers = Router::new()
        .route("/create", post(create))
        .route("/fail", post(fail))
        .layer(in_memory.extension())
        .route(
            "/layer",
            post(create_in_layer).layer(IdempotencyLayer::new(in_memory.clone())),
        );
    let transactional = Router::new()
        .route("/commit", post(commit))
        .layer((Extension(database), in_file.extension()));
    let app = handlers.merge(transactional);

    for (path, status) in [
        ("/create", 201),
        ("/fail", 500),
        ("/layer", 201),
        ("/commit", 201),
    ] {
        let before = RUNS.load(Ordering::SeqCst);
        let first = send(&app, "POST", path, path, "{}").await;
        assert_eq!(
            (first.status.as_u16(), first.text()),
            (status, TOKEN),
            "{path}"
        );
        for _ in 0..2 {
            let again = send(&app, "POST", path, path, "{}").await;
            assert_eq!(
                again.json()["code"],
                "idempotency_response_not_stored",
                "{path}"
            );
            assert_eq!(again.header("location"), Some("/tokens/1"), "{path}");
        }
        assert_eq!(RUNS.load(Ordering::SeqCst) - before, 1, "{path}");
    }
    for engine in [in_memory, in_file] {
        let outcomes = outcomes(engine.store()).await.expect("readable records");
        let is_there = |text: &str| {
            let text = text.as_bytes();
            outcomes.windows(text.len()).any(|part| part == text)
        };
        assert!(is_there("/tokens/1") && !is_there(TOKEN));
    }
}

/// A redirection to a URL that is itself a credential, if the request names one.
#[idempotent]
async fn redirect(url: String) -> (StatusCode, Extension<Disposition>, HeaderMap) {
    let location = HeaderValue::from_str(&url).expect("a URL");
    let location = (!url.is_empty()).then_some((LOCATION, location));
    (
        StatusCode::SEE_OTHER,
        Extension(Disposition::Tombstone),
        location.into_iter().collect(),
    )
}

// proves: oversized-response-leaves-tombstone, unreplayed-fields-configurable
#[tokio::test]
async fn a_tombstone_has_a_location_unless_the_configuration_drops_it() {
    let url = "https://storage.example/7?signature=4711";
    for (http, body, kept) in [
        (HttpConfig::new(), url, Some(url)),
        (HttpConfig::new(), "", None),
        (HttpConfig::new().with_dropped_header(LOCATION), url, None),
    ] {
        let store = MemoryStore::new();
        let engine = Idempotency::builder(store.clone()).with_http(http).build();
        let app = Router::new()
            .route("/", post(redirect))
            .layer(engine.extension());
        let first = send(&app, "POST", "/", "k", body).await;
        assert_eq!(first.header("location").unwrap_or_default(), body);
        let again = send(&app, "POST", "/", "k", body).await;
        assert_eq!(again.json()["code"], "idempotency_response_not_stored");
        assert_eq!(again.header("location"), kept);
        let outcomes = outcomes(&store).await.expect("readable records");
        let is_there = outcomes.ends_with(url.as_bytes());
        assert_eq!(is_there, kept.is_some());
    }
}
