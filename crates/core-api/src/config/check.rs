//! The options of `core-api check`.

use std::path::PathBuf;

use clap::Args;

use super::Config;

/// The service to check, by its options.
#[derive(Clone, Debug, Args)]
#[expect(clippy::doc_markdown, reason = "it is the text of --help")]
pub struct Check {
    /// The options of the service.
    #[command(flatten)]
    pub config: Config,

    /// Only asks the service at --listen whether it is ready, for an orchestrator that has no HTTP client. It is a problem if no
    /// service runs there.
    #[arg(long)]
    pub running: bool,

    /// The file with a token, of any role, for a running service with --protect-health. Without it --running takes the token from the
    /// environment variable CORE_API_TOKEN, if the address is one of this machine. The token is sent only if the service requests one.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Prints a JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}
