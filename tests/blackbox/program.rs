//! The program, and its report.

use std::{collections::BTreeSet, net::SocketAddr, process::Stdio};

use serde_json::Value;
use tokio::process::Command;

/// What the program printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) exit_code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program.
pub(crate) async fn conformance(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_conformance"))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("the program");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Output {
        exit_code: output.status.code().expect("an exit code"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// What the program says of a service.
#[derive(Debug)]
pub(crate) struct Verdicts {
    pub(crate) exit_code: i32,
    rules: Vec<Value>,
}

/// Runs the program against the service, which requires keys.
pub(crate) async fn ask(service: SocketAddr, dialect: &str) -> Verdicts {
    let url = format!("http://{service}");
    let arguments = [
        &url,
        "--dialect",
        dialect,
        "--target",
        "bookings",
        "--requires-key",
        "--json",
    ];
    let output = conformance(&arguments).await;
    let report: Value =
        serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("no report: {output:?}"));
    Verdicts {
        exit_code: output.exit_code,
        rules: report["rules"].as_array().expect("rules").clone(),
    }
}

impl Verdicts {
    /// The rules with this verdict.
    pub(crate) fn rules(&self, verdict: &str) -> BTreeSet<&str> {
        let rules = self.rules.iter().filter(|rule| rule["verdict"] == verdict);
        rules
            .map(|rule| rule["slug"].as_str().expect("a slug"))
            .collect()
    }

    /// Asserts that these rules fail, and that all others pass: none is left untried.
    pub(crate) fn assert_failed<const N: usize>(&self, failed: [&str; N]) {
        assert_eq!(
            self.rules("failed"),
            BTreeSet::from(failed),
            "{:#?}",
            self.rules
        );
        assert_eq!(
            self.rules("passed").len() + N,
            self.rules.len(),
            "{:#?}",
            self.rules
        );
    }
}
