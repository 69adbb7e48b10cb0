//! What a rule expects of a response.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::exchange::Response;

/// All of it has to be so.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Expectation {
    /// One of these.
    #[serde(default)]
    status: Vec<StatusPattern>,
    /// The step whose status and body this response has.
    same_as: Option<usize>,
    /// The step whose status this response has.
    same_status_as: Option<usize>,
    /// The step whose response differs from this one, in its status or its body.
    differs_from: Option<usize>,
    /// Header fields that are there.
    #[serde(default)]
    present: Vec<String>,
    /// Header fields that are not there.
    #[serde(default)]
    absent: Vec<String>,
    /// Header fields with these values, in letters of any case.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Header fields in whose values these texts occur, in letters of any case.
    #[serde(default)]
    contains: BTreeMap<String, String>,
    /// Header fields whose value is a whole number.
    #[serde(default)]
    whole_numbers: Vec<String>,
    /// Members of the JSON body, by their pointers, with these values.
    #[serde(default)]
    json: BTreeMap<String, Value>,
    /// Members of the JSON body that are there.
    #[serde(default)]
    members: Vec<String>,
    /// One of these is so.
    #[serde(default)]
    any: Vec<Expectation>,
    /// Of several requests sent at once: one of the responses is like this.
    some: Option<Box<Expectation>>,
    /// Of several requests sent at once: all that succeeded have the same status and body.
    #[serde(default)]
    one_result: bool,
}

/// A status, or a class such as `2xx`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum StatusPattern {
    Exactly(u16),
    Class(Class),
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Class {
    #[serde(rename = "2xx")]
    Success = 2,
    #[serde(rename = "4xx")]
    ClientError = 4,
    #[serde(rename = "5xx")]
    ServerError = 5,
}

impl Expectation {
    pub(crate) fn is_empty(&self) -> bool {
        let bare = self.status.is_empty() && self.present.is_empty() && self.absent.is_empty();
        let fields =
            self.headers.is_empty() && self.contains.is_empty() && self.whole_numbers.is_empty();
        let body = self.json.is_empty() && self.members.is_empty();
        let nested = self.any.is_empty() && self.some.is_none() && !self.one_result;
        bare && fields && body && nested && self.earlier_steps().is_empty()
    }

    /// The steps with whose responses this one is compared.
    pub(crate) fn earlier_steps(&self) -> Vec<usize> {
        let own = [self.same_as, self.same_status_as, self.differs_from];
        let nested = self.any.iter().chain(self.some.as_deref());
        own.into_iter()
            .flatten()
            .chain(nested.flat_map(Self::earlier_steps))
            .collect()
    }

    /// What is not as expected of these responses, sent for one step; `earlier` are those of the steps before.
    pub(crate) fn unmet_by(
        &self,
        responses: &[Response],
        earlier: &[Vec<Response>],
    ) -> Vec<String> {
        let mut unmet: Vec<_> = responses
            .iter()
            .flat_map(|response| self.unmet(response, earlier))
            .collect();
        unmet.dedup();
        if responses.len() > 1 {
            // Enough to see, and short enough to read.
            unmet.truncate(2);
        }
        if let Some(some) = &self.some {
            let nearest = responses
                .iter()
                .map(|response| some.unmet(response, earlier))
                .min_by_key(Vec::len);
            if let Some(nearest) = nearest.filter(|nearest| !nearest.is_empty()) {
                unmet.push(format!(
                    "none of {} responses: {}",
                    responses.len(),
                    nearest.join(", ")
                ));
            }
        }
        if self.one_result {
            let mut results: Vec<&Response> = Vec::new();
            for success in responses.iter().filter(|response| response.is_success()) {
                if !results.iter().any(|result| result.same_result(success)) {
                    results.push(success);
                }
            }
            if let [first, second, ..] = results[..] {
                let count = results.len();
                unmet.push(format!(
                    "expected one result, got {count}, such as {first} and {second}"
                ));
            }
        }
        unmet
    }

    fn unmet(&self, response: &Response, earlier: &[Vec<Response>]) -> Vec<String> {
        let is_matched = |status: &StatusPattern| status.matches(response.status);
        if !(self.status.is_empty() || self.status.iter().any(is_matched)) {
            let expected: Vec<_> = self.status.iter().map(StatusPattern::text).collect();
            // The rest is expected of a response with this status.
            return vec![format!(
                "expected {}, got {response}",
                expected.join(" or ")
            )];
        }
        let mut unmet = Vec::new();
        let step = |number: usize| {
            let responses = &earlier[number - 1];
            responses
                .iter()
                .find(|response| response.is_success())
                .unwrap_or(&responses[0])
        };
        if let Some(number) = self
            .same_as
            .filter(|number| !step(*number).same_result(response))
        {
            unmet.push(format!(
                "expected the response of step {number}, {}, got {response}",
                step(number)
            ));
        }
        if let Some(number) = self
            .same_status_as
            .filter(|number| step(*number).status != response.status)
        {
            unmet.push(format!(
                "expected the status of step {number}, {}, got {response}",
                step(number).status
            ));
        }
        if let Some(number) = self
            .differs_from
            .filter(|number| step(*number).same_result(response))
        {
            unmet.push(format!(
                "expected another response than that of step {number}, got {response}"
            ));
        }
        self.unmet_headers(response, &mut unmet);
        self.unmet_body(response, &mut unmet);
        if !self.any.is_empty() {
            let each: Vec<_> = self
                .any
                .iter()
                .map(|any| any.unmet(response, earlier))
                .collect();
            if each.iter().all(|unmet| !unmet.is_empty()) {
                let each: Vec<_> = each.iter().map(|unmet| unmet.join(", ")).collect();
                unmet.push(format!("none of: {}", each.join("; ")));
            }
        }
        unmet
    }

    fn unmet_headers(&self, response: &Response, unmet: &mut Vec<String>) {
        let got = |name: &str| match response.header(name) {
            Some(value) => format!("got {name}: {value}"),
            None => format!("got no {name}"),
        };
        let missing = self
            .present
            .iter()
            .filter(|name| response.header(name).is_none());
        unmet.extend(missing.map(|name| format!("expected {name}")));
        let there = self
            .absent
            .iter()
            .filter(|name| response.header(name).is_some());
        unmet.extend(there.map(|name| format!("expected no {name}, {}", got(name))));
        for (name, value) in &self.headers {
            if !response
                .header(name)
                .is_some_and(|there| there.eq_ignore_ascii_case(value))
            {
                unmet.push(format!("expected {name}: {value}, {}", got(name)));
            }
        }
        for (name, part) in &self.contains {
            let value = response
                .header(name)
                .unwrap_or_default()
                .to_ascii_lowercase();
            if !value.contains(&part.to_ascii_lowercase()) {
                unmet.push(format!("expected {name} with {part}, {}", got(name)));
            }
        }
        for name in &self.whole_numbers {
            let value = response.header(name).unwrap_or_default();
            if value.parse::<u32>().is_err() {
                unmet.push(format!(
                    "expected {name} with a whole number, {}",
                    got(name)
                ));
            }
        }
    }

    fn unmet_body(&self, response: &Response, unmet: &mut Vec<String>) {
        let json = response.json();
        let member = |pointer: &str| json.as_ref().and_then(|json| json.pointer(pointer));
        for (pointer, value) in &self.json {
            if member(pointer) != Some(value) {
                let got = member(pointer).map_or("nothing".to_owned(), ToString::to_string);
                unmet.push(format!(
                    "expected {value} at {pointer} of the body, got {got}"
                ));
            }
        }
        let missing = self
            .members
            .iter()
            .filter(|pointer| member(pointer).is_none());
        unmet.extend(
            missing.map(|pointer| format!("expected {pointer} in a JSON body, got {response}")),
        );
    }
}

impl StatusPattern {
    fn matches(&self, status: u16) -> bool {
        match self {
            Self::Exactly(exactly) => status == *exactly,
            Self::Class(class) => status / 100 == *class as u16,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Exactly(status) => status.to_string(),
            Self::Class(class) => format!("{}xx", *class as u16),
        }
    }
}
