//! The options of `core-api check`.

use clap::Args;

use super::Config;

/// The service to check, by its options.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The options of the service.
    #[command(flatten)]
    pub config: Config,

    /// Only asks the service at --listen whether it is ready, for an orchestrator that has no HTTP client. It is a problem if no
    /// service runs there.
    #[arg(long)]
    pub running: bool,

    /// Prints a JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}
