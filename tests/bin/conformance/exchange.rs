//! One request and its response.

use std::fmt;

use reqwest::{
    Client, Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;

/// A request, ready to be sent as often as a step wants.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<String>,
}

/// A response, read to its end.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The response; an error if there is none, or only a part of one.
    pub(crate) async fn send(self, client: Client) -> Result<Response, String> {
        let what = format!("{} {}", self.method, self.url);
        let mut request = client.request(self.method, self.url).headers(self.headers);
        if let Some(body) = self.body {
            request = request.body(body);
        }
        let failed = |error: reqwest::Error| format!("{what}: no response: {}", causes(&error));
        let response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(failed)?.to_vec();
        Ok(Response {
            status,
            headers,
            body,
        })
    }
}

/// Sets a field, in place of all others of its name.
pub(crate) fn set_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let (name, value) = field(name, value)?;
    headers.insert(name, value);
    Ok(())
}

/// Adds a line of a field to those that are there.
pub(crate) fn add_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), String> {
    let (name, value) = field(name, value)?;
    headers.append(name, value);
    Ok(())
}

fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let cannot = |_| format!("{name}: {value} cannot be a header field");
    let parsed_value = HeaderValue::from_bytes(value.as_bytes());
    let parsed_name = name
        .parse()
        .map_err(|_| format!("{name} cannot be the name of a header field"))?;
    Ok((parsed_name, parsed_value.map_err(cannot)?))
}

impl Response {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Status and body are equal. Header fields such as `Date` may differ.
    pub(crate) fn same_result(&self, other: &Self) -> bool {
        self.status == other.status && self.body == other.body
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The values of a field, one after the other.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.headers.get_all(name).iter().collect();
        let values = values
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        values
            .reduce(|all, value| format!("{all}, {value}").into())
            .map(Into::into)
    }
}

/// Short enough for a line of a report.
impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_CHARACTERS: usize = 100;
        let body = String::from_utf8_lossy(&self.body);
        let mut shown: String = body
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_CHARACTERS)
            .collect();
        if body.chars().count() > MAX_CHARACTERS {
            shown.push('…');
        }
        match shown.is_empty() {
            true => write!(f, "{} without a body", self.status),
            false => write!(f, "{} {shown}", self.status),
        }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
