//! A target: which requests a server takes, and how its effects are counted.

use std::collections::BTreeMap;

use reqwest::{Method, header::HeaderMap};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    effects::Effects,
    exchange::{Request, set_header},
    files::{self, BuiltIn},
    template::Placeholders,
};

const BUILT_IN: [BuiltIn; 2] = [
    ("core-api", include_str!("targets/core-api.toml")),
    ("bookings", include_str!("targets/bookings.toml")),
];

/// A target.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Target {
    pub(crate) name: String,
    /// Whether requests without a key are refused.
    #[serde(default)]
    pub(crate) requires_key: bool,
    /// How long a request is given to reach the server's handler before the next one is sent, where its beginning cannot be
    /// seen.
    #[serde(default = "half_a_second")]
    pub(crate) head_start_ms: u64,
    /// The request that the others are variants of. It succeeds and has an effect.
    pub(crate) request: Part,
    /// What is different in other requests, by names that rules use.
    #[serde(default)]
    pub(crate) variants: BTreeMap<String, Part>,
    pub(crate) effects: Option<Effects>,
}

const fn half_a_second() -> u64 {
    500
}

/// A part of a request; what it leaves out stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    method: Option<String>,
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Members of the JSON body, added to those that are there.
    json: Option<Map<String, Value>>,
    /// The whole body, in place of JSON.
    body: Option<String>,
}

impl Target {
    /// The target of this name, or in this file.
    pub(crate) fn load(name: &str) -> Result<Self, String> {
        files::load(&BUILT_IN, name)
    }

    /// The request with these variants, without a key.
    pub(crate) fn request(
        &self,
        base: &str,
        variants: &[String],
        placeholders: &Placeholders,
    ) -> Result<Request, String> {
        let variants = variants.iter().filter_map(|name| self.variants.get(name));
        Part::combined(
            [&self.request].into_iter().chain(variants),
            base,
            placeholders,
        )
    }
}

impl Part {
    /// The request of these parts, of which each is laid over those before.
    pub(crate) fn combined<'a>(
        parts: impl IntoIterator<Item = &'a Self>,
        base: &str,
        placeholders: &Placeholders,
    ) -> Result<Request, String> {
        let (mut method, mut path) = ("POST", "/");
        let mut headers = HeaderMap::new();
        let (mut members, mut body) = (Map::new(), None);
        for part in parts {
            method = part.method.as_deref().unwrap_or(method);
            path = part.path.as_deref().unwrap_or(path);
            for (name, value) in &part.headers {
                set_header(&mut headers, name, &placeholders.fill(value)?)?;
            }
            if let Some(json) = &part.json {
                members.extend(json.clone());
                body = Some(Value::Object(members.clone()).to_string());
            }
            body = part.body.clone().or(body);
        }
        Ok(Request {
            method: method
                .parse::<Method>()
                .map_err(|_| format!("{method} is no method"))?,
            url: format!("{base}{}", placeholders.fill(path)?),
            headers,
            body: body
                .filter(|body| !body.is_empty())
                .map(|body| placeholders.fill(&body))
                .transpose()?,
        })
    }
}
