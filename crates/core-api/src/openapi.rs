//! The OpenAPI 3.1 description of every route, and the part of it that `OPTIONS` sends.

mod problems;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    body::Bytes,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use idempotency::{Idempotency, Options};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::error::{ApiError, Problem};

/// The description of the service as a whole.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "core-api",
        description = "A booking service whose writes are safe to retry: send each one with an Idempotency-Key of your own, and send it again, with the \
                       same key, if no response arrives.",
    ),
    servers((url = "/")),
    components(schemas(Problem<'_>)),
    tags(
        (name = "bookings", description = "Bookings."),
        (name = "keys", description = "The records of idempotency keys."),
        (name = "health", description = "For orchestrators and monitoring."),
        (name = "documentation", description = "The description of the service."),
        (name = "page", description = "The page to try the service in a browser."),
    ),
)]
struct Service;

/// The description without operations.
pub(crate) fn service() -> utoipa::openapi::OpenApi {
    Service::openapi()
}

/// What the description needs to know about the service.
pub(crate) struct Facts<'a> {
    pub(crate) idempotency: &'a Idempotency,
    /// The `operationId` of each operation with keys, and its options.
    pub(crate) protected: &'a [(&'static str, Options)],
    /// Whether operations with this tag need a token.
    pub(crate) needs_token: &'a dyn Fn(&str) -> bool,
}

/// The description of a running service.
#[derive(Clone, Debug)]
pub(crate) struct Document(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    whole: Bytes,
    options: BTreeMap<String, PathOptions>,
}

/// The response to `OPTIONS` on one path.
#[derive(Debug)]
struct PathOptions {
    allow: HeaderValue,
    body: Bytes,
}

impl Document {
    /// Adds what the handlers have in common to what they declare themselves.
    pub(crate) fn new(api: &utoipa::openapi::OpenApi, facts: &Facts<'_>) -> Self {
        let mut document = serde_json::to_value(api).expect("a document that can be written");
        let mut has_tokens = false;
        for (path, operation) in operations(&mut document) {
            let needs_token = operation["tags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .any(facts.needs_token);
            problems::add(&path, operation, needs_token);
            has_tokens |= needs_token;
            operation["security"] = if needs_token {
                json!([{ "token": [] }])
            } else {
                json!([])
            };
        }
        if has_tokens {
            document["components"]["securitySchemes"]["token"] = json!({
                "type": "http",
                "scheme": "bearer",
                "description": "A token made by `core-api token new`. Its role determines what it allows: a viewer reads, a caller also writes.",
            });
        }
        for (id, options) in facts.protected {
            let described = facts
                .idempotency
                .describe_operation(&mut document, id, options);
            described.expect("the handlers with keys have operations");
        }
        let items = document["paths"].as_object().expect("paths");
        let options = items.iter().filter(|(_, item)| item["options"].is_object());
        let options = options.map(|(path, item)| (path.clone(), PathOptions::of(item)));
        Self(Arc::new(Parts {
            options: options.collect(),
            whole: document.to_string().into(),
        }))
    }

    /// The response to `OPTIONS` on this path.
    pub(crate) fn options(&self, path: &str) -> Response {
        let Some(PathOptions { allow, body }) = self.0.options.get(path) else {
            return ApiError::UnknownRoute.into_response();
        };
        let headers = [
            (header::ALLOW, allow.clone()),
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/json"),
            ),
            (header::LINK, HeaderValue::from_static(LINK)),
        ];
        (headers, body.clone()).into_response()
    }
}

/// Where the rules are described: RFC 8631.
#[cfg(feature = "swagger-ui")]
const LINK: &str = "</openapi.json>; rel=\"service-desc\"; type=\"application/openapi+json\", </docs>; rel=\"service-doc\"; type=\"text/html\"";
#[cfg(not(feature = "swagger-ui"))]
const LINK: &str = "</openapi.json>; rel=\"service-desc\"; type=\"application/openapi+json\"";

impl PathOptions {
    fn of(item: &Value) -> Self {
        let item = item.as_object().expect("operations by method");
        let mut allow: Vec<_> = item
            .keys()
            .map(|method| method.to_ascii_uppercase())
            .collect();
        if item.contains_key("get") {
            // axum serves it wherever it serves GET.
            allow.push("HEAD".into());
        }
        let policies = item.iter().filter_map(|(method, operation)| {
            let policy = operation.get("x-idempotency")?.clone();
            Some((method.to_ascii_uppercase(), policy))
        });
        let body = json!({ "idempotency": policies.collect::<Map<_, _>>() });
        Self {
            allow: allow.join(", ").try_into().expect("names of methods"),
            body: body.to_string().into(),
        }
    }
}

/// Every operation, and its path.
fn operations(document: &mut Value) -> impl Iterator<Item = (String, &mut Value)> {
    let items = document["paths"].as_object_mut().into_iter().flatten();
    items.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.map(|(_, operation)| (path.clone(), operation))
    })
}

/// This description.
///
/// The `x-idempotency` of an operation has its rules: the field of the key, the ttl, and what is stored.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "documentation",
    responses((status = OK, description = "The OpenAPI 3.1 description of every route.", content_type = "application/json", body = Object, example = json!({"openapi": "3.1.0"}))),
)]
pub(crate) async fn show_openapi(Extension(document): Extension<Document>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, document.0.whole.clone()).into_response()
}
