//! A run: all rules of a dialect, one after the other, because effects are counted for the server as a whole.

use std::time::Duration;

use reqwest::{Client, redirect::Policy};

use crate::{
    dialect::{Dialect, Rule},
    report::{Finding, Verdict},
    rule_run::{RuleRun, Stop},
    target::Target,
};

/// The server, and how to reach it.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) client: Client,
}

impl Server {
    /// No response takes longer than the timeout.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, String> {
        // As it is on the wire: nothing is followed, and a connection that a server closed is not used for the next rule.
        let client = Client::builder()
            .redirect(Policy::none())
            .timeout(timeout)
            .pool_max_idle_per_host(0)
            .no_proxy()
            .user_agent("idempotency-conformance")
            .build();
        Ok(Self {
            base: url.trim_end_matches('/').to_owned(),
            client: client.map_err(|error| error.to_string())?,
        })
    }
}

/// What is found of each rule; an error if the server does not even take the target's requests.
pub(crate) async fn all(
    server: &Server,
    dialect: &Dialect,
    target: &Target,
) -> Result<Vec<Finding>, String> {
    let probe = RuleRun::new(server, dialect, target);
    probe.probe(&[]).await?;
    if target.variants.contains_key("changed") {
        // A server that does not take it would seem to refuse the reuse of keys.
        probe.probe(&["changed"]).await?;
    }
    let mut findings = Vec::new();
    for rule in &dialect.rules {
        findings.push(one(server, dialect, target, rule).await);
    }
    Ok(findings)
}

async fn one(server: &Server, dialect: &Dialect, target: &Target, rule: &Rule) -> Finding {
    let outcome = RuleRun::new(server, dialect, target).run(rule).await;
    let (verdict, why) = match outcome {
        Ok(()) => (Verdict::Passed, String::new()),
        Err(Stop::Failed(why)) => (Verdict::Failed, why),
        Err(Stop::NotTried(why)) => (Verdict::NotTried, why),
        Err(Stop::Error(why)) => (Verdict::Error, why),
    };
    Finding {
        slug: rule.slug.clone(),
        says: rule.says.clone(),
        source: rule.source.clone(),
        force: rule.force,
        verdict,
        why,
    }
}
