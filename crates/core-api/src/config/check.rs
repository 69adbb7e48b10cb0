//! The options of `core-api check`.

use clap::Args;

use super::Config;

/// What is checked: a service with these options.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The options of the service.
    #[command(flatten)]
    pub config: Config,

    /// Only asks the service that runs at --listen whether it is ready, for an orchestrator that has no HTTP client; an address
    /// where none runs is a problem.
    #[arg(long)]
    pub running: bool,

    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}
