//! A dialect: how keys are sent, and the rules of one specification.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    expectation::Expectation,
    files::{self, BuiltIn},
    keys::KeyKind,
};

const BUILT_IN: [BuiltIn; 6] = [
    ("draft-07", include_str!("dialects/draft-07.toml")),
    ("stripe", include_str!("dialects/stripe.toml")),
    ("acp", include_str!("dialects/acp.toml")),
    ("ucp", include_str!("dialects/ucp.toml")),
    (
        "repeatable-requests",
        include_str!("dialects/repeatable-requests.toml"),
    ),
    ("iceberg", include_str!("dialects/iceberg.toml")),
];

/// A dialect.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Dialect {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) key: KeyField,
    /// Header fields of every request.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(rename = "rule")]
    pub(crate) rules: Vec<Rule>,
}

/// How a request carries its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyField {
    pub(crate) field: String,
    pub(crate) kind: KeyKind,
    /// Whether the value stands in double quotes, as a string of RFC 8941 does.
    pub(crate) quoted: bool,
    /// Header fields that go with a key, and only with one.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
}

/// How much a specification demands.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Force {
    Must,
    Should,
    May,
}

impl Force {
    pub(crate) const ALL: [Self; 3] = [Self::Must, Self::Should, Self::May];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
        }
    }
}

/// A rule: what is sent, and what a server that keeps the rule answers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Rule {
    pub(crate) slug: String,
    pub(crate) says: String,
    /// Where the specification says it.
    pub(crate) source: String,
    pub(crate) force: Force,
    /// Only for servers that refuse requests without a key.
    #[serde(default)]
    pub(crate) needs_required_key: bool,
    /// How often the work was done, once all steps are over.
    pub(crate) effects: Option<usize>,
    /// Whether only a target that counts every run can tell, because the runs fail.
    #[serde(default)]
    pub(crate) counts_failures: bool,
    #[serde(rename = "step")]
    pub(crate) steps: Vec<Step>,
}

/// One step: it sends requests, or waits for the response to an earlier one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Step {
    /// What of the target's variants changes its request, in this order.
    #[serde(default, rename = "as")]
    pub(crate) variants: Vec<String>,
    /// The letter of its key.
    pub(crate) key: Option<String>,
    /// The lines of the key's field as they are, in place of a key.
    #[serde(default)]
    pub(crate) key_lines: Vec<String>,
    /// Header fields of this request, in place of others of these names.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// How many equal requests are sent at once.
    #[serde(default = "one")]
    pub(crate) times: usize,
    /// Whether the next steps begin while this request is under way.
    #[serde(default)]
    pub(crate) begin: bool,
    /// The step, counted from 1, for whose response this one waits; it sends nothing.
    pub(crate) finish: Option<usize>,
    /// What has to be so that the rule can be tried at all.
    #[serde(default)]
    pub(crate) given: Expectation,
    #[serde(default)]
    pub(crate) expect: Expectation,
}

const fn one() -> usize {
    1
}

impl Dialect {
    /// The dialect of this name, or in this file.
    pub(crate) fn load(name: &str) -> Result<Self, String> {
        let dialect: Self = files::load(&BUILT_IN, name)?;
        for rule in &dialect.rules {
            let mistake = rule.mistake();
            mistake.map_or(Ok(()), |mistake| {
                Err(format!("{name}: {}: {mistake}", rule.slug))
            })?;
        }
        Ok(dialect)
    }

    /// With these rules only, or with all if none are named.
    pub(crate) fn only(mut self, slugs: &[String]) -> Result<Self, String> {
        let unknown = slugs
            .iter()
            .find(|slug| self.rules.iter().all(|rule| rule.slug != **slug));
        if let Some(slug) = unknown {
            return Err(format!("{} has no rule {slug}", self.name));
        }
        self.rules
            .retain(|rule| slugs.is_empty() || slugs.contains(&rule.slug));
        Ok(self)
    }
}

impl Step {
    /// The target's plain request with the key of this letter.
    pub(crate) fn plain(letter: &str) -> Self {
        Self {
            variants: Vec::new(),
            key: Some(letter.to_owned()),
            key_lines: Vec::new(),
            headers: BTreeMap::new(),
            times: 1,
            begin: false,
            finish: None,
            given: Expectation::default(),
            expect: Expectation::default(),
        }
    }
}

impl Rule {
    /// What is wrong with the rule itself: a rule that expects nothing would always pass.
    fn mistake(&self) -> Option<String> {
        let mut expects = self.effects.is_some();
        for (index, step) in self.steps.iter().enumerate() {
            expects |= !step.expect.is_empty();
            if step.begin && !(step.expect.is_empty() && step.given.is_empty() && step.times == 1) {
                return Some(format!(
                    "step {} only begins, and can expect nothing",
                    index + 1
                ));
            }
            let begun = |number: usize| number <= index && self.steps[number - 1].begin;
            if step
                .finish
                .is_some_and(|number| number == 0 || !begun(number))
            {
                return Some(format!(
                    "step {} finishes a step that did not begin",
                    index + 1
                ));
            }
            let responded =
                |number: &usize| (1..=index).contains(number) && !self.steps[number - 1].begin;
            let compared = [&step.expect, &step.given].map(Expectation::earlier_steps);
            if !compared.iter().flatten().all(responded) {
                return Some(format!(
                    "step {} compares with a step that has no response yet",
                    index + 1
                ));
            }
        }
        (!expects).then(|| "expects nothing".to_owned())
    }
}
