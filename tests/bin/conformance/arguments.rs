//! The command line.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;

use crate::{
    MUST_FAILED, RUN_BROKEN,
    dialect::{Dialect, Force},
    files,
    report::{Report, Verdict},
    run::{self, Server},
    table,
    target::Target,
};

/// Asks a server whether it keeps the rules of a dialect of idempotency keys.
///
/// The exit code is 1 if a MUST fails, and 2 if a request gets no response or the run is broken in another way.
#[derive(Debug, Parser)]
#[command(name = "conformance")]
pub(crate) struct Arguments {
    /// Where the server is, such as <http://127.0.0.1:3000>.
    #[arg(required_unless_present_any = ["tables", "list"])]
    url: Option<String>,

    /// The rules: one of the built-in dialects, or a file.
    #[arg(long, default_value = "draft-07")]
    dialect: String,

    /// The requests that the server takes: one of the built-in targets, or a file.
    #[arg(long, default_value = "core-api")]
    target: String,

    /// The server refuses requests without a key, whatever the target says.
    #[arg(long)]
    requires_key: bool,

    /// Tries this rule only; repeat the option for several.
    #[arg(long = "rule", value_name = "SLUG")]
    rules: Vec<String>,

    /// What the server is called in the report; by default as its target.
    #[arg(long)]
    name: Option<String>,

    /// How long a response may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u64,

    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,

    /// Lists the rules of the dialect and sends nothing.
    #[arg(long)]
    list: bool,

    /// Prints a table in Markdown of reports that --json has written, a column each, and sends nothing.
    #[arg(long, value_name = "REPORT", num_args = 1.., conflicts_with = "url")]
    tables: Vec<PathBuf>,
}

impl Arguments {
    /// Does what the command line asks for.
    pub(crate) async fn execute(&self) -> Result<ExitCode, String> {
        if !self.tables.is_empty() {
            let reports: Result<Vec<_>, _> = self.tables.iter().map(|path| report(path)).collect();
            print!("{}", table::markdown(&reports?));
            return Ok(ExitCode::SUCCESS);
        }
        let dialect = Dialect::load(&self.dialect)?.only(&self.rules)?;
        let Some(url) = self.url.as_ref().filter(|_| !self.list) else {
            print!("{}", table::rules(&dialect));
            return Ok(ExitCode::SUCCESS);
        };
        let mut target = Target::load(&self.target)?;
        target.requires_key |= self.requires_key;
        let server = Server::new(url, Duration::from_secs(self.timeout))?;
        let name = self.name.as_ref().unwrap_or(&target.name);
        let report = Report {
            server: name.clone(),
            dialect: dialect.name.clone(),
            title: dialect.title.clone(),
            rules: run::all(&server, &dialect, &target).await?,
        };
        if self.json {
            let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
            println!("{json}");
        } else {
            print!("{}", table::text(&report));
        }
        Ok(exit_code(&report))
    }
}

fn report(path: &Path) -> Result<Report, String> {
    let text = files::read(path)?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Broken runs come first: what was not seen cannot be judged.
fn exit_code(report: &Report) -> ExitCode {
    if report.count(None, Verdict::Error) > 0 {
        ExitCode::from(RUN_BROKEN)
    } else if report.count(Some(Force::Must), Verdict::Failed) > 0 {
        ExitCode::from(MUST_FAILED)
    } else {
        ExitCode::SUCCESS
    }
}
