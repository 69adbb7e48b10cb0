//! What `#[idempotent]` adds to an operation, written into an OpenAPI document.

mod key_parameter;

use std::{collections::BTreeMap, error::Error, fmt, time::Duration};

use http::{HeaderName, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{policy::is_final, problem::Problem, request::Methods};
use crate::{
    HttpConfig, Idempotency, OnDuplicate, OnLost, Options,
    http_rejection::HttpRejection,
    key::{KeyError, KeySyntax, places_of},
    options::{EffectiveOptions, Keep},
    store::StoreError,
};
use key_parameter::add_key;

/// The name of the schema that the problems share.
const PROBLEM: &str = "IdempotencyProblem";

/// An OpenAPI document has no operation of this `operationId` whose method has keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOperation(Box<str>);

impl Idempotency {
    /// Adds what this engine does for an operation to an OpenAPI 3.1 document.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use idempotency::{Idempotency, MemoryStore, idempotent};
    /// use serde_json::json;
    ///
    /// #[idempotent(ttl_seconds = 3600)]
    /// async fn create_booking() -> StatusCode {
    ///     StatusCode::CREATED
    /// }
    ///
    /// // As a generator writes it; with utoipa it is `serde_json::to_value(ApiDoc::openapi())`.
    /// let mut document = json!({ "paths": { "/bookings": { "post": {
    ///     "operationId": "create_booking",
    ///     "responses": { "201": { "description": "Booked." } },
    /// } } } });
    /// let idempotency = Idempotency::new(MemoryStore::new());
    /// idempotency.describe_operation(&mut document, "create_booking", create_booking.options())?;
    ///
    /// let operation = &document["paths"]["/bookings"]["post"];
    /// assert_eq!(operation["parameters"][0]["name"], "Idempotency-Key");
    /// assert_eq!(operation["x-idempotency"]["ttl_seconds"], 3600);
    /// let created = &operation["responses"]["201"];
    /// assert!(created["headers"]["Idempotent-Replayed"].is_object());
    /// let refused = &operation["responses"]["409"];
    /// assert!(refused["content"]["application/problem+json"].is_object());
    /// # Ok::<(), idempotency::http::UnknownOperation>(())
    /// ```
    ///
    /// That is the parameter with the key, in the field from which it comes, or none for a [key](Options::key) in the body; the header fields of a replay, for each 2xx and 3xx that is stored; the
    /// [`problems`](crate::problems), by status; and the policy, as `x-idempotency`. `ttl_seconds` and all the rest come from the options and
    /// the [`HttpConfig`] that requests meet. What the document says already stays, except whether the key is required. To
    /// the description of a response, the problems are appended. A parameter and a response that are a `$ref` stay as they are.
    ///
    /// A 4xx of the document gets no fields of a replay: if the handler gives it, it is stored like a 2xx, and if an extractor does, it is
    /// not. Problems are left out where the application has [its own response](HttpConfig::with_rejection_response).
    ///
    /// # Errors
    ///
    /// If no operation has this `operationId`, or its method is a safe one, such as GET, which ignores keys.
    pub fn describe_operation(
        &self,
        document: &mut Value,
        operation_id: &str,
        options: &Options,
    ) -> Result<(), UnknownOperation> {
        let (config, options) = (self.http(), self.effective(options));
        let is_own = config.rejection_response.is_none();
        let shared = document.pointer("/components/parameters").cloned();
        let operation = operation(document, operation_id)
            .ok_or_else(|| UnknownOperation(operation_id.into()))?;
        add_key(operation, shared.as_ref(), config, &options);
        if let Some(responses) = object(operation, "responses") {
            mark_replays(responses, config, &options);
            if is_own {
                add_problems(responses, config, &options, self.limits_new_keys());
            }
        }
        operation.insert("x-idempotency".into(), policy(config, &options));
        if !is_own {
            return Ok(());
        }
        let schemas = document
            .as_object_mut()
            .and_then(|document| object(document, "components"))
            .and_then(|components| object(components, "schemas"));
        if let Some(schemas) = schemas {
            schemas.entry(PROBLEM).or_insert_with(problem_schema);
        }
        Ok(())
    }
}

/// The operation, if keys protect its method.
fn operation<'a>(document: &'a mut Value, id: &str) -> Option<&'a mut Map<String, Value>> {
    let paths = document.get_mut("paths")?.as_object_mut()?;
    let items = paths.values_mut().filter_map(Value::as_object_mut);
    let operations = items.flat_map(|item| {
        item.iter_mut().filter(|(method, _)| {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes());
            method.is_ok_and(|method| Methods::NotSafe.protect(&method))
        })
    });
    let mut operations = operations.filter_map(|(_, operation)| operation.as_object_mut());
    operations.find(|operation| operation.get("operationId").is_some_and(|own| own == id))
}

/// The object of this name, which is made if there is nothing.
fn object<'a>(
    parent: &'a mut Map<String, Value>,
    name: &str,
) -> Option<&'a mut Map<String, Value>> {
    parent
        .entry(name)
        .or_insert_with(|| json!({}))
        .as_object_mut()
}

/// The header fields of a replay and of a stored response. Those of a 4xx depend on who gives it, so the document's author knows.
fn mark_replays(
    responses: &mut Map<String, Value>,
    config: &HttpConfig,
    options: &EffectiveOptions,
) {
    let (replayed, expires) = if options.rebuilds {
        (
            "In a replay only: an earlier request with the same key was carried out, and this response describes its result.",
            "Until when a retry is a replay, as an HTTP date.",
        )
    } else {
        (
            "In a replay only: this is the stored response to an earlier request with the same key.",
            "If the response is stored: until when a retry receives it, as an HTTP date.",
        )
    };
    for (status, response) in responses {
        let status = status.to_ascii_uppercase().replace("XX", "00");
        let is_stored = StatusCode::from_bytes(status.as_bytes())
            .is_ok_and(|status| status.as_u16() < 400 && is_final(status, options.keep));
        let Some(response) = response
            .as_object_mut()
            .filter(|response| is_stored && !response.contains_key("$ref"))
        else {
            continue;
        };
        let fields = [
            (
                &config.replayed,
                json!({
                    "description": replayed,
                    "schema": { "type": "string", "enum": ["true"] },
                }),
            ),
            (
                &config.expires,
                json!({
                    "description": expires,
                    "schema": { "type": "string" },
                }),
            ),
        ];
        if let Some(headers) = object(response, "headers") {
            for (name, field) in fields {
                headers.entry(title_case(name)).or_insert(field);
            }
        }
    }
}

/// The refusals, one response for each status.
fn add_problems(
    responses: &mut Map<String, Value>,
    config: &HttpConfig,
    options: &EffectiveOptions,
    limits_new_keys: bool,
) {
    let mut by_status = BTreeMap::<u16, Vec<HttpRejection>>::new();
    for problem in problems(config, options, limits_new_keys) {
        let rejection = problem.describe(config);
        by_status
            .entry(rejection.status().as_u16())
            .or_default()
            .push(rejection);
    }
    for (status, rejections) in by_status {
        let Some(response) = object(responses, &status.to_string())
            .filter(|response| !response.contains_key("$ref"))
        else {
            continue;
        };
        let lines = rejections
            .iter()
            .map(|rejection| format!("- `{}`: {}", rejection.code(), rejection.title()));
        let lines = lines.collect::<Vec<_>>().join("\n");
        let own = response
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !own.contains(&lines) {
            let description = format!("{own}\n\n{lines}");
            response.insert("description".into(), description.trim().into());
        }
        if let Some(content) = object(response, "content") {
            let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{PROBLEM}") } });
            content.entry("application/problem+json").or_insert(schema);
        }
        let may_retry = rejections
            .iter()
            .any(|rejection| rejection.retry_after().is_some());
        let Some(headers) = object(response, "headers") else {
            continue;
        };
        headers.entry(title_case(&config.problem)).or_insert_with(|| {
            json!({ "description": "If idempotency is the reason: the `code` of the problem.", "schema": { "type": "string" } })
        });
        if let Some(url) = &config.key_lookup
            && status == StatusCode::UNPROCESSABLE_ENTITY.as_u16()
        {
            headers.entry("Link").or_insert_with(|| {
                json!({
                    "description": format!("With rel=\"related\": where the owner of the key asks what it made, {url}. With \
                        rel=\"describedby\": the page that explains the problem."),
                    "schema": { "type": "string" },
                })
            });
        }
        if may_retry {
            headers.entry("Retry-After").or_insert_with(|| {
                json!({ "description": "After how many seconds to send the same request again.", "schema": { "type": "integer", "minimum": 0 } })
            });
        }
    }
}

/// The refusals that the operation can come to.
fn problems(
    config: &HttpConfig,
    options: &EffectiveOptions,
    limits_new_keys: bool,
) -> Vec<Problem> {
    let mut problems = vec![
        Problem::KeyMalformed(KeyError::Character),
        Problem::KeyMalformed(KeyError::TooLong),
        Problem::CredentialsRepeated,
        Problem::ContentIncomplete,
        Problem::InProgress,
        Problem::KeyIncomparable,
        Problem::ResponseNotStored { location: None },
        Problem::ContentTooLarge,
        Problem::KeyReused,
        Problem::TooManyKeys,
        Problem::HandlerPanicked,
        Problem::ResponseBroken,
        Problem::Misconfigured(""),
        Problem::StoreUnavailable(StoreError::unavailable("")),
        Problem::StoreUnavailable(StoreError::full("")),
        Problem::Busy,
        Problem::ShuttingDown,
        Problem::ResponseUnavailable,
        Problem::StepNotStored,
        Problem::ResponseErased,
        Problem::CommitFailed,
        Problem::CommitUnknown { is_shared: true },
    ];
    if limits_new_keys {
        problems.push(Problem::TooManyNewKeys {
            retry_after: Duration::ZERO,
        });
    }
    if options.required {
        problems.push(Problem::KeyMissing);
    } else if config.refuses_keyless_early_data {
        problems.push(Problem::EarlyData);
    }
    if config.min_anonymous_key_length > 0 {
        let min = config.min_anonymous_key_length;
        problems.push(Problem::AnonymousKeyTooShort { min });
    }
    if options.on_lost == OnLost::Refuse {
        problems.push(Problem::OutcomeUnknown);
    }
    problems
}

fn policy(config: &HttpConfig, options: &EffectiveOptions) -> Value {
    let mut policy = policy_of_field(config, options);
    if let Some(key) = options.key {
        let places = places_of(key);
        policy["header"] = places.headers().next().map(title_case).into();
        policy["key"] = places.to_string().into();
        policy["format"] = "text".into();
    }
    policy
}

fn policy_of_field(config: &HttpConfig, options: &EffectiveOptions) -> Value {
    json!({
        "header": title_case(&config.key),
        "replayed_header": title_case(&config.replayed),
        "expires_header": title_case(&config.expires),
        "required": options.required,
        "ttl_seconds": options.ttl.as_secs(),
        "scope": "caller",
        "format": match config.key_syntax {
            KeySyntax::Quoted => "sf-string",
            KeySyntax::QuotedOrBare => "sf-string or bare",
        },
        "stored": match options.keep {
            Keep::Final => "final",
            Keep::All => "all",
            Keep::Success => "success",
        },
        "replay": if options.rebuilds { "rebuilt" } else { "stored" },
        "on_duplicate": match options.on_duplicate {
            OnDuplicate::Conflict => "conflict",
            OnDuplicate::Wait => "wait",
        },
    })
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "Why a request with an idempotency key was refused (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "detail": { "type": "string" },
            "code": { "type": "string", "description": "An identifier for programs, which does not change between versions." },
            "retry_after": { "type": "integer", "minimum": 0, "description": "After how many seconds to send the same request again." },
        },
    })
}

/// The name as documents write it: header fields have no case.
fn title_case(name: &HeaderName) -> String {
    let words = name.as_str().split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

impl fmt::Display for UnknownOperation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the OpenAPI document has no operation {} whose method has keys",
            self.0
        )
    }
}

impl Error for UnknownOperation {}
