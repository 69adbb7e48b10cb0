//! The parameter that carries the key.

use serde_json::{Map, Value, json};

use super::title_case;
use crate::{
    HttpConfig, IdempotencyKey,
    key::{BARE_PUNCTUATION, KeySyntax, places_of},
    options::EffectiveOptions,
};

/// Adds the parameter, or completes the existing one.
pub(super) fn add_key(
    operation: &mut Map<String, Value>,
    shared: Option<&Value>,
    config: &HttpConfig,
    options: &EffectiveOptions,
) {
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let Some(parameters) = parameters.as_array_mut() else {
        return;
    };
    let own = options.key.map(places_of);
    let names = match &own {
        Some(places) => places.headers().collect(),
        None => [Some(&config.key), config.former_key.as_ref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>(),
    };
    // A key may come in any of several places.
    let is_required = match &own {
        Some(places) => options.required && places.as_slice().len() == 1,
        None => options.required && config.former_key.is_none(),
    };
    for name in names {
        let is_former = own.is_none() && name != config.key;
        let is_it = |parameter: &Value| {
            let target = parameter["$ref"].as_str();
            let target = target.and_then(|target| target.strip_prefix("#/components/parameters/"));
            let parameter = match (target, shared) {
                (Some(target), Some(shared)) => &shared[target],
                _ => parameter,
            };
            let own = parameter["name"].as_str().unwrap_or_default();
            parameter["in"] == "header" && own.eq_ignore_ascii_case(name.as_str())
        };
        let index = parameters.iter().position(is_it).unwrap_or_else(|| {
            parameters.push(json!({ "name": title_case(name), "in": "header" }));
            parameters.len() - 1
        });
        let Some(parameter) = parameters[index].as_object_mut() else {
            continue;
        };
        if parameter.contains_key("$ref") {
            continue;
        }
        parameter.insert("required".into(), is_required.into());
        let parts = match &own {
            Some(_) => own_key(config, options),
            None => [
                ("description", key_description(config, options).into()),
                ("schema", key_schema(config)),
            ],
        };
        for (part, value) in parts {
            parameter.entry(part).or_insert(value);
        }
        if is_former {
            parameter.insert("deprecated".into(), true.into());
        }
    }
}

fn key_description(config: &HttpConfig, options: &EffectiveOptions) -> String {
    let quotes = match config.key_syntax {
        KeySyntax::Quoted => "in double quotes (sf-string, RFC 9651)",
        KeySyntax::QuotedOrBare => {
            "in double quotes (sf-string, RFC 9651) or, if it is a word such as a UUID, without them"
        }
    };
    format!(
        "A value that the client makes for this request, such as a UUID, and repeats when it retries: 1 to {} characters, {quotes}. \
         A retry with the same key and the same request receives the first response again, for {} seconds. Each caller has keys of its own.{}",
        IdempotencyKey::MAX_LENGTH,
        options.ttl.as_secs(),
        anonymous(config),
    )
}

/// What holds for callers without scope and credentials only. A schema cannot say it, because no document knows who calls.
fn anonymous(config: &HttpConfig) -> String {
    match config.min_anonymous_key_length {
        0 | 1 => String::new(),
        min => format!(" A caller without credentials sends at least {min} characters."),
    }
}

/// The description and the schema of a field that is not the library's.
fn own_key(config: &HttpConfig, options: &EffectiveOptions) -> [(&'static str, Value); 2] {
    let max = IdempotencyKey::MAX_LENGTH;
    let description = format!(
        "The key of this request, which is the same in each retry: 1 to {max} characters. A retry with the same key and the same request \
         receives the first response again, for {} seconds.{}",
        options.ttl.as_secs(),
        anonymous(config),
    );
    [
        ("description", description.into()),
        ("schema", json!({ "type": "string", "minLength": 1 })),
    ]
}

fn key_schema(config: &HttpConfig) -> Value {
    // The characters of a string between its quotes; at either end, a space is not one of them.
    let inner = r#"([!#-\[\]-~]|\\["\\])"#;
    let quoted = format!(r#""{inner}(( |{inner})*{inner})?""#);
    let max = IdempotencyKey::MAX_LENGTH;
    match config.key_syntax {
        KeySyntax::Quoted => json!({
            // Each character of a key may be preceded by a backslash.
            "type": "string", "format": "sf-string", "minLength": 2 + 1, "maxLength": 2 + 2 * max, "pattern": format!("^{quoted}$"),
        }),
        KeySyntax::QuotedOrBare => {
            let first = BARE_PUNCTUATION.replace([':', '@'], "");
            let bare = format!("[A-Za-z0-9{first}][A-Za-z0-9{BARE_PUNCTUATION}]*");
            let pattern = format!("^({bare}|{quoted})$");
            json!({ "type": "string", "minLength": 1, "maxLength": max, "pattern": pattern })
        }
    }
}
