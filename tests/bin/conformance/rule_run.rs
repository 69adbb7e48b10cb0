//! One run of one rule.

use std::{collections::BTreeMap, mem, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    dialect::{Dialect, Rule, Step},
    effects::Effects,
    exchange::{Request, Response, add_header, set_header},
    expectation::Expectation,
    run::Server,
    target::Target,
    template::Placeholders,
};

/// Why a rule did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(String),
    NotTried(String),
    Error(String),
}

/// How long a run may take to be counted after its request was sent.
const MAX_BEGINNING: Duration = Duration::from_secs(10);
const BETWEEN_COUNTS: Duration = Duration::from_millis(50);

/// A request that was sent.
type Sent = JoinHandle<Result<Response, String>>;

async fn response(sent: Sent) -> Result<Response, Stop> {
    let response = sent.await.map_err(|error| error.to_string()).flatten();
    response.map_err(Stop::Error)
}

/// The state of a rule while its steps are taken.
pub(crate) struct RuleRun<'a> {
    server: &'a Server,
    dialect: &'a Dialect,
    target: &'a Target,
    placeholders: Placeholders,
    /// The responses of each step so far.
    responses: Vec<Vec<Response>>,
    /// The requests that are under way, by the indices of their steps.
    under_way: BTreeMap<usize, Sent>,
}

impl<'a> RuleRun<'a> {
    pub(crate) fn new(server: &'a Server, dialect: &'a Dialect, target: &'a Target) -> Self {
        Self {
            server,
            dialect,
            target,
            placeholders: Placeholders::new(dialect.key.kind),
            responses: Vec::new(),
            under_way: BTreeMap::new(),
        }
    }

    /// Sends the target's request with a key of its own, plain or with these variants. It has to succeed: otherwise the server is not the
    /// one that the target describes, or does not speak the dialect at all, and rules would fail, or pass, for that reason alone.
    pub(crate) async fn probe(&self, variants: &[&str]) -> Result<(), String> {
        let mut step = Step::plain(if variants.is_empty() { "a" } else { "b" });
        step.variants = variants.iter().map(ToString::to_string).collect();
        let request = self.request(&step)?;
        let response = request.send(self.server.client.clone()).await?;
        if response.is_success() {
            return Ok(());
        }
        let which = variants.first().unwrap_or(&"plain");
        Err(format!(
            "the {which} request of the target {}, with a key as {} wants it, got {response}: no rule was tried",
            self.target.name, self.dialect.name
        ))
    }

    /// Takes all steps, and waits for all requests that they began, so that none disturbs the next rule.
    pub(crate) async fn run(mut self, rule: &Rule) -> Result<(), Stop> {
        self.check_needs(rule)?;
        let outcome = self.take_steps(rule).await;
        for request in mem::take(&mut self.under_way).into_values() {
            // Its response no longer matters.
            let _ = request.await;
        }
        outcome
    }

    fn check_needs(&self, rule: &Rule) -> Result<(), Stop> {
        let name = &self.target.name;
        let without = |what: &str| Err(Stop::NotTried(format!("the target {name} {what}")));
        if rule.needs_required_key && !self.target.requires_key {
            return without("requires no key");
        }
        let variants = rule.steps.iter().flat_map(|step| &step.variants);
        let missing: Vec<_> = variants
            .filter(|variant| !self.target.variants.contains_key(*variant))
            .collect();
        if let Some(missing) = missing.first() {
            return without(&format!("describes no request \"{missing}\""));
        }
        match &self.target.effects {
            None if rule.effects.is_some() => without("does not say how effects are counted"),
            Some(effects) if rule.counts_failures && !effects.counts_runs => {
                without("does not count runs that fail")
            }
            _ => Ok(()),
        }
    }

    async fn take_steps(&mut self, rule: &Rule) -> Result<(), Stop> {
        let expected = rule.effects.zip(self.target.effects.as_ref());
        let before = match expected {
            Some((_, effects)) => self.count(effects).await?,
            None => 0,
        };
        for (index, step) in rule.steps.iter().enumerate() {
            let responses = self.take(index, step).await?;
            let unmet = |expectation: &Expectation| {
                let unmet = expectation.unmet_by(&responses, &self.responses);
                (!unmet.is_empty()).then(|| format!("step {}: {}", index + 1, unmet.join("; ")))
            };
            if let Some(unmet) = unmet(&step.given) {
                return Err(Stop::NotTried(format!(
                    "the target {} is not as it says: {unmet}",
                    self.target.name
                )));
            }
            if let Some(unmet) = unmet(&step.expect) {
                return Err(Stop::Failed(unmet));
            }
            self.responses.push(responses);
        }
        if let Some((expected, effects)) = expected {
            let effects = self.count(effects).await?.saturating_sub(before);
            if effects != expected {
                return Err(Stop::Failed(format!(
                    "expected {expected} effects, counted {effects}"
                )));
            }
        }
        Ok(())
    }

    /// The responses of this step.
    async fn take(&mut self, index: usize, step: &Step) -> Result<Vec<Response>, Stop> {
        if let Some(number) = step.finish {
            let request = self.under_way.remove(&(number - 1));
            let request =
                request.ok_or(Stop::Error(format!("step {number} was finished before")))?;
            return Ok(vec![response(request).await?]);
        }
        let request = self.request(step).map_err(Stop::Error)?;
        if step.begin {
            return self.begin(index, request).await.map(|()| Vec::new());
        }
        if self.under_way.values().any(JoinHandle::is_finished) {
            return Err(Stop::NotTried(format!(
                "the request \"slow\" of the target {} was over before step {} began",
                self.target.name,
                index + 1
            )));
        }
        let client = &self.server.client;
        let sent: Vec<_> = (0..step.times)
            .map(|_| tokio::spawn(request.clone().send(client.clone())))
            .collect();
        let mut responses = Vec::new();
        for request in sent {
            responses.push(response(request).await);
        }
        // Only now, so that no request is left behind.
        responses.into_iter().collect()
    }

    /// Sends a request, and waits until the server is at work on it: until its run is counted, where runs are.
    async fn begin(&mut self, index: usize, request: Request) -> Result<(), Stop> {
        let counting = self
            .target
            .effects
            .as_ref()
            .filter(|effects| effects.counts_runs);
        let before = match counting {
            Some(effects) => self.count(effects).await?,
            None => 0,
        };
        let sent = tokio::spawn(request.send(self.server.client.clone()));
        self.under_way.insert(index, sent);
        let Some(effects) = counting else {
            sleep(Duration::from_millis(self.target.head_start_ms)).await;
            return Ok(());
        };
        let counted = async {
            while self.count(effects).await? == before {
                sleep(BETWEEN_COUNTS).await;
            }
            Ok(())
        };
        let late = || {
            Stop::NotTried(format!(
                "step {}: its run was not counted within ten seconds",
                index + 1
            ))
        };
        timeout(MAX_BEGINNING, counted).await.map_err(|_| late())?
    }

    async fn count(&self, effects: &Effects) -> Result<usize, Stop> {
        effects
            .count(self.server, &self.placeholders)
            .await
            .map_err(Stop::Error)
    }

    /// The request of this step, as the target and the dialect make it.
    fn request(&self, step: &Step) -> Result<Request, String> {
        let mut request =
            self.target
                .request(&self.server.base, &step.variants, &self.placeholders)?;
        let key = &self.dialect.key;
        let mut fields: Vec<_> = self.dialect.headers.iter().collect();
        if let Some(letter) = &step.key {
            let value = self.placeholders.keys.get(letter);
            let value = if key.quoted {
                format!("\"{value}\"")
            } else {
                value
            };
            set_header(&mut request.headers, &key.field, &value)?;
        }
        if step.key.is_some() || !step.key_lines.is_empty() {
            fields.extend(&key.headers);
        }
        fields.extend(&step.headers);
        for (name, value) in fields {
            set_header(&mut request.headers, name, &self.placeholders.fill(value)?)?;
        }
        for line in &step.key_lines {
            add_header(
                &mut request.headers,
                &key.field,
                &self.placeholders.fill(line)?,
            )?;
        }
        Ok(request)
    }
}
