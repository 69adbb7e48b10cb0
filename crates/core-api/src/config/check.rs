//! The options of `core-api check`.

use clap::Args;

use super::Config;

/// What is checked: a service with these options.
#[derive(Clone, Debug, Args)]
pub struct Check {
    /// The options of the service.
    #[command(flatten)]
    pub config: Config,

    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}
