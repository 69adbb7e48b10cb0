//! How often the server has done the work.

use serde::Deserialize;
use serde_json::Value;

use crate::{run::Server, target::Part, template::Placeholders};

/// Where a target tells its effects: as a number, or as an array with an element for each.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Effects {
    request: Part,
    /// The pointer into the JSON body.
    #[serde(default)]
    at: String,
    /// The text in the elements that count; all count if it is left out.
    containing: Option<String>,
    /// Whether a run counts as soon as it begins, even if it fails later.
    #[serde(default)]
    pub(crate) counts_runs: bool,
}

impl Effects {
    /// How many there are now.
    pub(crate) async fn count(
        &self,
        server: &Server,
        placeholders: &Placeholders,
    ) -> Result<usize, String> {
        let request = Part::combined([&self.request], &server.base, placeholders)?;
        let response = request.send(server.client.clone()).await?;
        let json = response.json();
        let place = json.as_ref().and_then(|json| json.pointer(&self.at));
        let text = self
            .containing
            .as_ref()
            .map(|text| placeholders.fill(text))
            .transpose()?;
        let counts = |element: &&Value| {
            text.as_ref()
                .is_none_or(|text| element.to_string().contains(text))
        };
        let count = match place {
            Some(Value::Array(elements)) => Some(elements.iter().filter(counts).count()),
            Some(Value::Number(number)) => number.as_u64().and_then(|count| count.try_into().ok()),
            _ => None,
        };
        count.ok_or_else(|| {
            format!(
                "effects cannot be counted: no number and no array at {:?} of {response}",
                self.at
            )
        })
    }
}
