//! Prints to standard output.

use std::io::{Write, stdout};

use idempotency::{
    log_text::{Causes, Printable},
    store::{Verdict, Verification},
};
use serde_json::json;

/// Prints what was found, and returns whether there is no problem.
pub(super) fn found(found: &Verification, is_json: bool) -> Result<bool, String> {
    let text = if is_json {
        as_json(found)
    } else {
        table(found)
    };
    let written = stdout().write_all(text.as_bytes());
    written.map_err(|error| format!("standard output: {}", Causes(&error)))?;
    Ok(found.verdict() != Verdict::Problem)
}

fn table(found: &Verification) -> String {
    let mut table = String::new();
    for finding in &found.findings {
        let (verdict, check) = (finding.verdict.as_str(), finding.check);
        // A server's message may contain anything.
        let text = finding.found.as_str();
        table += &format!("{verdict:<8} {check:<16} {}\n", Printable(text));
        if let Some(advice) = finding.advice {
            table += &format!("{:<8} {:<16} → {advice}\n", "", "");
        }
    }
    let count = |verdict| {
        let findings = found.findings.iter();
        findings
            .filter(|finding| finding.verdict == verdict)
            .count()
    };
    let (problems, warnings) = (count(Verdict::Problem), count(Verdict::Warning));
    table += &format!("problems: {problems}, warnings: {warnings}\n");
    table
}

fn as_json(found: &Verification) -> String {
    let findings = found.findings.iter().map(|finding| {
        json!({
            "check": finding.check,
            "verdict": finding.verdict.as_str(),
            "found": finding.found,
            "advice": finding.advice,
        })
    });
    let findings: Vec<_> = findings.collect();
    format!(
        "{}\n",
        json!({ "verdict": found.verdict().as_str(), "findings": findings })
    )
}
