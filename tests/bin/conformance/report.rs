//! What a run has found.

use serde::{Deserialize, Serialize};

use crate::dialect::Force;

/// The report of one server and one dialect.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    pub(crate) server: String,
    pub(crate) dialect: String,
    pub(crate) title: String,
    pub(crate) rules: Vec<Finding>,
}

/// What was found of one rule.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Finding {
    pub(crate) slug: String,
    pub(crate) says: String,
    pub(crate) source: String,
    pub(crate) force: Force,
    pub(crate) verdict: Verdict,
    /// What was expected and what came, or why the rule was not tried. Empty for a rule that passed.
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Passed,
    Failed,
    /// The target has not what the rule needs, so the rule says nothing about this server.
    NotTried,
    /// A request got no response, or the effects could not be counted.
    Error,
}

impl Verdict {
    pub(crate) const ALL: [Self; 4] = [Self::Passed, Self::Failed, Self::NotTried, Self::Error];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotTried => "not tried",
            Self::Error => "error",
        }
    }
}

impl Report {
    /// How many rules of this force have this verdict; of any force without one.
    pub(crate) fn count(&self, force: Option<Force>, verdict: Verdict) -> usize {
        let counted = |finding: &&Finding| {
            finding.verdict == verdict && force.is_none_or(|force| finding.force == force)
        };
        self.rules.iter().filter(counted).count()
    }
}
