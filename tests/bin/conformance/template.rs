//! The placeholders in the texts of dialects and targets.

use std::{
    env,
    time::{Duration, SystemTime},
};

use httpdate::fmt_http_date;
use uuid::Uuid;

use crate::keys::{KeyKind, Keys};

/// What the placeholders of one run of a rule stand for.
///
/// | Placeholder | Stands for |
/// |---|---|
/// | `{unique}` | a text that no other run has |
/// | `{a}` | the key `a` of this rule; any small letter |
/// | `{a:255}` | that key, made 255 characters long |
/// | `{http-date}`, `{http-date-240}` | when the rule began, and 240 seconds earlier |
/// | `{env:NAME}` | an environment variable, such as a token |
#[derive(Debug)]
pub(crate) struct Placeholders {
    pub(crate) keys: Keys,
    unique: String,
    began: SystemTime,
}

impl Placeholders {
    pub(crate) fn new(kind: KeyKind) -> Self {
        Self {
            keys: Keys::new(kind),
            unique: Uuid::new_v4().simple().to_string(),
            began: SystemTime::now(),
        }
    }

    /// The text with its placeholders filled in. Other braces, such as those of JSON, stay.
    pub(crate) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let (before, from_brace) = rest.split_at(start);
            filled.push_str(before);
            let inside = &from_brace[1..];
            let placeholder = inside.find('}').map(|end| &inside[..end]);
            match placeholder
                .map(|name| self.value(name))
                .transpose()?
                .flatten()
            {
                Some(value) => {
                    filled.push_str(&value);
                    rest = &inside[placeholder.map_or(0, str::len) + 1..];
                }
                None => {
                    filled.push('{');
                    rest = inside;
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str) -> Result<Option<String>, String> {
        if name == "unique" {
            return Ok(Some(self.unique.clone()));
        }
        if let Some(variable) = name.strip_prefix("env:") {
            let value = env::var(variable);
            return value
                .map(Some)
                .map_err(|_| format!("the environment has no {variable}"));
        }
        if let Some(earlier) = name.strip_prefix("http-date") {
            let seconds = match earlier.strip_prefix('-') {
                Some(seconds) => seconds.parse().ok(),
                None => earlier.is_empty().then_some(0),
            };
            return Ok(
                seconds.map(|seconds| fmt_http_date(self.began - Duration::from_secs(seconds)))
            );
        }
        let (letter, length) = match name.split_once(':') {
            Some((letter, length)) => (letter, length.parse().ok()),
            None => (name, Some(0)),
        };
        let is_letter = letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_lowercase());
        Ok(length
            .filter(|_| is_letter)
            .map(|length: usize| format!("{:x<length$}", self.keys.get(letter))))
    }
}
