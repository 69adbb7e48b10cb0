//! The attribute with `#[utoipa::path]`, which generates items that must be next to the handler.

#![deny(warnings)]

use std::sync::{Arc, atomic::AtomicUsize};

use http::HeaderName;
use idempotency::{
    HttpConfig, Idempotency, IdempotencyKey, MemoryStore, OnLost, Options,
    http::HttpRejection,
    idempotent,
    key::{KeyRejection, KeyRequest, KeySyntax},
    options::Keep,
    webhooks,
};
use serde_json::{Value, json};
use utoipa::{OpenApi, openapi::RefOr};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::support::{protected, runs_once, send};

/// Above.
#[utoipa::path(post, path = "/above", responses((status = 200, body = String)))]
#[idempotent(ttl_seconds = 60)]
async fn above(body: String) -> String {
    body
}

/// Below.
#[idempotent(ttl_seconds = 60)]
#[axum::debug_handler]
#[utoipa::path(post, path = "/below", responses((status = 200, body = String)))]
async fn below(body: String) -> String {
    body
}

#[idempotent]
#[cfg_attr(true, utoipa::path(post, path = "/conditional"))]
async fn conditional() -> &'static str {
    "conditional"
}

/// A handler in a module, together with one that reads, as `routes!` takes them.
mod bookings {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Json, extract::State, http::StatusCode};
    use idempotency::idempotent;
    use serde::{Deserialize, Serialize};
    use utoipa::ToSchema;

    #[derive(Deserialize, Serialize, ToSchema)]
    pub(super) struct Booking {
        guest: String,
    }

    #[utoipa::path(get, path = "/bookings", responses((status = 200, body = usize)))]
    pub(super) async fn list(State(made): State<Arc<AtomicUsize>>) -> Json<usize> {
        Json(made.load(Ordering::SeqCst))
    }

    #[utoipa::path(
        post,
        path = "/bookings",
        request_body = Booking,
        params(("idempotency-key" = Option<String>, Header)),
        responses((status = 201, body = Booking)),
    )]
    #[idempotent(ttl_seconds = 60)]
    pub(super) async fn create(
        State(made): State<Arc<AtomicUsize>>,
        Json(booking): Json<Booking>,
    ) -> (StatusCode, Json<Booking>) {
        made.fetch_add(1, Ordering::SeqCst);
        (StatusCode::CREATED, Json(booking))
    }
}

#[derive(OpenApi)]
#[openapi(paths(above, below, conditional))]
struct Listed;

#[tokio::test]
async fn a_handler_with_utoipas_attribute_is_described_and_replays() {
    let (routes, api) = OpenApiRouter::<()>::new()
        .routes(routes!(above))
        .routes(routes!(below))
        .routes(routes!(conditional))
        .split_for_parts();
    for paths in [api.paths, Listed::openapi().paths] {
        let names: Vec<_> = paths.paths.keys().map(String::as_str).collect();
        assert_eq!(names, ["/above", "/below", "/conditional"]);
        let summary = |path| {
            let operation = paths.paths[path].post.as_ref().expect("a POST");
            operation.summary.clone().expect("a summary")
        };
        assert_eq!(summary("/above"), "Above.");
        assert_eq!(summary("/below"), "Below.");
    }

    let router = protected(routes);
    assert_eq!(runs_once(&router, "/above").await, "{}");
    assert_eq!(runs_once(&router, "/below").await, "{}");
    assert_eq!(runs_once(&router, "/conditional").await, "conditional");
}

// proves: nested-path-counts-whole
#[tokio::test]
async fn handlers_of_a_module_share_a_path_in_a_nested_router() {
    let inner = OpenApiRouter::new().routes(routes!(bookings::list, bookings::create));
    let (routes, api) = OpenApiRouter::new()
        .nest("/v1", inner)
        .with_state(Arc::<AtomicUsize>::default())
        .split_for_parts();
    let path = &api.paths.paths["/v1/bookings"];
    assert!(path.get.is_some());
    let create = path.post.as_ref().expect("a POST");
    let parameters = create.parameters.as_ref().expect("a parameter");
    assert!(matches!(&parameters[0], RefOr::T(parameter) if parameter.name == "idempotency-key"));
    let schemas = api.components.expect("components").schemas;
    assert!(schemas.contains_key("Booking"));

    let router = protected(routes);
    let booking = r#"{"guest":"Ann"}"#;
    for replayed in [false, true] {
        let response = send(&router, "POST", "/v1/bookings", "k", booking).await;
        assert_eq!((response.text(), response.is_replay()), (booking, replayed));
    }
    assert_eq!(
        send(&router, "GET", "/v1/bookings", "k", "").await.body,
        "1"
    );
}

/// The document of these handlers, as `describe_operation` completes it.
fn described(idempotency: &Idempotency, document: Value, options: &Options) -> Value {
    let mut document = document;
    let done = idempotency.describe_operation(&mut document, "write", options);
    done.unwrap();
    document
}

fn engine(http: HttpConfig) -> Idempotency {
    Idempotency::builder(MemoryStore::new())
        .with_http(http)
        .with_defaults(Options::new().ttl(std::time::Duration::from_secs(77)))
        .build()
}

fn document(operation: &Value) -> Value {
    json!({ "openapi": "3.1.0", "paths": { "/": { "summary": "All.", "parameters": [], "post": operation } } })
}

// proves: policy-page-published
#[test]
fn utoipas_document_gets_the_rules_of_its_handlers() {
    let mut document = serde_json::to_value(Listed::openapi()).unwrap();
    let idempotency = engine(HttpConfig::new());
    for (id, options) in [
        ("above", above.options()),
        ("below", below.options()),
        ("conditional", conditional.options()),
    ] {
        idempotency
            .describe_operation(&mut document, id, options)
            .unwrap();
    }
    let ttl = |path: &str| document["paths"][path]["post"]["x-idempotency"]["ttl_seconds"].clone();
    assert_eq!(
        (ttl("/above"), ttl("/below"), ttl("/conditional")),
        (json!(60), json!(60), json!(77))
    );
    let operation = &document["paths"]["/above"]["post"];
    assert!(operation["responses"]["200"]["content"]["text/plain"].is_object());
    // utoipa takes it back, and has lost nothing.
    let api: utoipa::openapi::OpenApi = serde_json::from_value(document.clone()).unwrap();
    assert_eq!(serde_json::to_value(api).unwrap(), document);
}

// proves: policy-page-published
#[test]
fn a_document_says_what_the_options_and_the_configuration_say() {
    let empty = || {
        document(
            &json!({ "operationId": "write", "responses": { "201": { "description": "" }, "default": { "description": "" } } }),
        )
    };
    let plain = described(&engine(HttpConfig::new()), empty(), &Options::new());
    let post = &plain["paths"]["/"]["post"];
    assert_eq!(post["parameters"][0]["required"], false);
    assert!(post["responses"]["default"]["headers"].is_null());
    let has = |post: &Value, status: &str, code: &str| {
        let description = post["responses"][status]["description"].as_str();
        description.is_some_and(|text| text.contains(&format!("`{code}`")))
    };
    assert!(has(post, "409", "idempotency_in_progress"));
    assert!(!has(post, "400", "idempotency_key_missing"));
    assert!(!has(post, "409", "idempotency_outcome_unknown"));

    let http = HttpConfig::new()
        .with_strict_keys()
        .with_key_header(HeaderName::from_static("request-key"))
        .with_replayed_header(HeaderName::from_static("x-again"));
    let options = Options::new()
        .required()
        .on_lost(OnLost::Refuse)
        .keep(Keep::All);
    let strict = described(&engine(http.clone()), empty(), &options);
    let post = &strict["paths"]["/"]["post"];
    let parameter = &post["parameters"][0];
    assert_eq!(parameter["name"], "Request-Key");
    assert_eq!(parameter["required"], true);
    assert_eq!(parameter["schema"]["format"], "sf-string");
    // The longest key is valid in quotes too, with each character behind a backslash.
    let longest = format!("\"{}\"", r#"\""#.repeat(IdempotencyKey::MAX_LENGTH));
    let max = parameter["schema"]["maxLength"].as_u64().expect("a number");
    assert_eq!(max, longest.len() as u64);
    let key = IdempotencyKey::from_field_value(longest.as_bytes(), KeySyntax::Quoted);
    assert!(key.is_ok());
    assert!(post["responses"]["201"]["headers"]["X-Again"].is_object());
    assert_eq!(post["x-idempotency"]["stored"], "all");
    assert!(has(post, "400", "idempotency_key_missing"));
    assert!(has(post, "409", "idempotency_outcome_unknown"));
    // The page of problems has a heading for each, and the document names all of them.
    let page = include_str!("../../crates/idempotency/src/problems.md");
    let http_of_all = HttpConfig::new()
        .without_keyless_early_data()
        .with_min_anonymous_key_length(16);
    let open = described(&engine(http_of_all), empty(), &Options::new());
    let open = &open["paths"]["/"]["post"];
    let document = format!("{}{}", post["responses"], open["responses"]);
    let headings = page.lines().filter_map(|line| line.strip_prefix("# "));
    let missing: Vec<_> = headings
        .filter(|name| !document.contains(&name.replace('-', "_")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(!has(post, "425", "idempotency_early_data"));
    let [field, refused] = [&open["parameters"][0], &open["responses"]["400"]];
    // A caller with credentials may send a shorter one.
    assert_eq!(field["schema"]["minLength"], 1);
    let told = field["description"].as_str().expect("a text");
    assert!(told.contains("at least 16 characters"), "{told}");
    assert!(
        refused["description"]
            .to_string()
            .contains("idempotency_key_too_short")
    );

    // While clients change over, a key may come in either field.
    let http = http.with_former_key_header(HeaderName::from_static("x-request-key"));
    let both = described(&engine(http.clone()), empty(), &options);
    let parameters = both["paths"]["/"]["post"]["parameters"].as_array().unwrap();
    let names = parameters.iter().map(|parameter| {
        (
            &parameter["name"],
            &parameter["required"],
            &parameter["deprecated"],
        )
    });
    let expected = [
        (&json!("Request-Key"), &json!(false), &Value::Null),
        (&json!("X-Request-Key"), &json!(false), &json!(true)),
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);

    let own = http.with_rejection_response(HttpRejection::status);
    let own = described(&engine(own), empty(), &options);
    assert!(own["paths"]["/"]["post"]["responses"]["409"].is_null());
    assert!(own["components"].is_null());
}

// proves: own-key-described
#[test]
fn a_key_from_elsewhere_is_described_where_it_is() {
    fn either(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
        let key = request.header("X-Order")?;
        Ok(key.or(request.member("order.id")?))
    }
    fn unknown(request: &KeyRequest<'_>) -> Result<Option<IdempotencyKey>, KeyRejection> {
        let extension = request.head().extensions.get::<Arc<str>>();
        Ok(Some(IdempotencyKey::new(extension.expect("a layer"))?))
    }
    let empty = || document(&json!({ "operationId": "write", "responses": {} }));
    let either = Options::new().required().key(either);
    let unknown = Options::new().key(unknown);
    for (options, fields, key) in [
        (
            webhooks::STANDARD,
            json!([["Webhook-Id", true]]),
            "the header field webhook-id",
        ),
        (
            webhooks::GITHUB,
            json!([["X-Github-Delivery", true]]),
            "the header field x-github-delivery",
        ),
        (
            webhooks::STRIPE,
            json!([]),
            "the member id of the JSON body",
        ),
        (
            either,
            json!([["X-Order", false]]),
            "the header field x-order, or the member order.id of the JSON body",
        ),
        (
            unknown,
            json!([]),
            "a part of the request that the service determines",
        ),
    ] {
        let described = described(&engine(HttpConfig::new()), empty(), &options);
        let post = &described["paths"]["/"]["post"];
        let parameters = post["parameters"].as_array().expect("a list");
        let found: Vec<_> = parameters
            .iter()
            .map(|parameter| json!([parameter["name"], parameter["required"]]))
            .collect();
        assert_eq!(json!(found), fields);
        assert_eq!(post["x-idempotency"]["key"], key);
        let header = parameters
            .first()
            .map_or(&Value::Null, |field| &field["name"]);
        assert_eq!(&post["x-idempotency"]["header"], header);
        let bad = post["responses"]["400"]["description"].as_str();
        assert!(bad.is_some_and(|bad| bad.contains("idempotency_key_malformed")));
    }
}

// proves: policy-page-published
#[test]
fn what_a_document_says_already_stays() {
    let before = json!({
        "operationId": "write",
        "parameters": [{ "name": "idempotency-key", "in": "header", "description": "Ours.", "required": true }],
        "responses": {
            "201": { "$ref": "#/components/responses/Made" },
            "409": { "description": "Taken.", "content": { "application/problem+json": { "schema": {} } } },
        },
    });
    let idempotency = engine(HttpConfig::new());
    let once = described(&idempotency, document(&before), &Options::new());
    let post = &once["paths"]["/"]["post"];
    assert_eq!(post["parameters"].as_array().unwrap().len(), 1);
    assert_eq!(post["parameters"][0]["description"], "Ours.");
    assert_eq!(post["parameters"][0]["required"], false);
    assert_eq!(post["responses"]["201"], before["responses"]["201"]);
    let taken = &post["responses"]["409"];
    assert!(
        taken["description"]
            .as_str()
            .unwrap()
            .starts_with("Taken.\n\n- `")
    );
    assert_eq!(
        taken["content"]["application/problem+json"]["schema"],
        json!({})
    );
    assert_eq!(described(&idempotency, once.clone(), &Options::new()), once);

    let mut shared = document(
        &json!({ "operationId": "write", "parameters": [{ "$ref": "#/components/parameters/Key" }], "responses": {} }),
    );
    shared["components"]["parameters"]["Key"] =
        json!({ "name": "Idempotency-Key", "in": "header" });
    let shared = described(&idempotency, shared, &Options::new());
    assert_eq!(
        shared["paths"]["/"]["post"]["parameters"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn an_operation_that_keys_do_not_protect_is_an_error() {
    let idempotency = engine(HttpConfig::new());
    for mut unfit in [
        json!({ "paths": { "/": { "get": { "operationId": "write", "responses": {} } } } }),
        document(&json!({ "operationId": "other", "responses": {} })),
        json!({ "paths": [] }),
        json!("no document"),
        Value::Null,
    ] {
        let before = unfit.clone();
        let error = idempotency.describe_operation(&mut unfit, "write", &Options::new());
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("no operation write")
        );
        assert_eq!(unfit, before);
    }
}
