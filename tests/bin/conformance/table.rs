//! Reports as text, and several of them as one table.

use std::fmt::Write;

use crate::{
    dialect::{Dialect, Force},
    report::{Finding, Report, Verdict},
};

/// The rules, for those who want to read what is asked.
pub(crate) fn rules(dialect: &Dialect) -> String {
    let mut text = format!("{}\n\n", dialect.title);
    for rule in &dialect.rules {
        let (force, slug, says, source) = (rule.force.name(), &rule.slug, &rule.says, &rule.source);
        let _ = writeln!(text, "{force:<7} {slug:<34} {says} ({source})");
    }
    text
}

/// A report: a line for each rule, below it why it did not pass, and the counts.
pub(crate) fn text(report: &Report) -> String {
    let mut text = format!("{} on {}\n\n", report.title, report.server);
    for finding in &report.rules {
        let verdict = finding.verdict.name().to_uppercase();
        let (force, slug, source) = (finding.force.name(), &finding.slug, &finding.source);
        let _ = writeln!(text, "{verdict:<10} {force:<7} {slug:<34} {source}");
        if !finding.why.is_empty() {
            let _ = writeln!(text, "{:11}{}\n{:11}{}", "", finding.says, "", finding.why);
        }
    }
    text.push('\n');
    for force in Force::ALL {
        let counts = Verdict::ALL
            .map(|verdict| format!("{} {}", report.count(Some(force), verdict), verdict.name()));
        let _ = writeln!(text, "{:<7} {}", force.name(), counts.join(", "));
    }
    let not_tried = report.count(None, Verdict::NotTried);
    if not_tried > 0 {
        let _ = writeln!(
            text,
            "\nNOT TRIED: {not_tried}. Nothing is known of these rules; each says what the target lacks."
        );
    }
    text
}

/// A table in Markdown for each dialect: a row for each rule, a column for each report; below it, why rules did not pass.
pub(crate) fn markdown(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut dialects: Vec<&str> = Vec::new();
    for report in reports {
        if !dialects.contains(&report.dialect.as_str()) {
            dialects.push(&report.dialect);
        }
    }
    for dialect in dialects {
        let reports: Vec<_> = reports
            .iter()
            .filter(|report| report.dialect == dialect)
            .collect();
        text.push_str(&one_dialect(&reports));
    }
    text
}

fn one_dialect(reports: &[&Report]) -> String {
    let first = reports[0];
    let names: Vec<_> = reports
        .iter()
        .map(|report| report.server.as_str())
        .collect();
    let mut text = format!(
        "## {}\n\n| Rule | Force | {} |\n|---|---|{}\n",
        first.title,
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for rule in &first.rules {
        let cells: Vec<_> = reports
            .iter()
            .map(|report| cell(report, &rule.slug))
            .collect();
        let _ = writeln!(
            text,
            "| `{}`: {} | {} | {} |",
            rule.slug,
            rule.says,
            rule.force.name(),
            cells.join(" | ")
        );
    }
    for force in Force::ALL {
        let cells = reports.iter().map(|report| {
            let passed = report.count(Some(force), Verdict::Passed);
            let tried = passed
                + report.count(Some(force), Verdict::Failed)
                + report.count(Some(force), Verdict::Error);
            format!("{passed} of {tried}")
        });
        let cells: Vec<_> = cells.collect();
        let _ = writeln!(
            text,
            "| passed, of those tried | {} | {} |",
            force.name(),
            cells.join(" | ")
        );
    }
    text.push('\n');
    for report in reports {
        for finding in report
            .rules
            .iter()
            .filter(|finding| !finding.why.is_empty())
        {
            let why = finding.why.replace('`', "'");
            let _ = writeln!(
                text,
                "- {}, `{}`, {}: `{why}`",
                report.server,
                finding.slug,
                finding.verdict.name()
            );
        }
    }
    text.push('\n');
    text
}

fn cell(report: &Report, slug: &str) -> &'static str {
    let finding: Option<&Finding> = report.rules.iter().find(|finding| finding.slug == slug);
    match finding.map(|finding| finding.verdict) {
        Some(Verdict::Passed) => "passed",
        Some(Verdict::Failed) => "**failed**",
        Some(Verdict::Error) => "**error**",
        Some(Verdict::NotTried) | None => "not tried",
    }
}
