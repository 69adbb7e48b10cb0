//! The commands of the program.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::{Config, KeysCommand, secretive};
use crate::tokens::{Expiry, Role, Subject};

/// What the program is asked to do: to serve, unless a command is given.
#[derive(Clone, Debug, Parser)]
#[command(name = "core-api", version, args_conflicts_with_subcommands = true)]
pub struct Program {
    /// The options of the service.
    #[command(flatten)]
    pub config: Config,

    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program can do instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Makes bearer tokens for --tokens.
    #[command(subcommand)]
    Token(TokenCommand),

    /// Shows and resolves idempotency keys in a store that the options name.
    ///
    /// No key is printed: an id is its digest. A file, SQLite's, is open in one process only: while the service runs, ask that one, at
    /// /admin/keys.
    #[command(subcommand)]
    Keys(Box<KeysCommand>),
}

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Prints a new token, once: only its SHA-256 is stored.
    ///
    /// A service with the same --tokens lets it in within a second. To take it away, remove its line from the file.
    New(NewToken),
}

/// A token that is to be made.
#[derive(Clone, Debug, Args)]
pub struct NewToken {
    /// Who calls with it, such as the name of a customer or a service: 1 to 128 visible ASCII characters. Keys and
    /// bookings belong to the subject; a second token of the same subject gets the same responses.
    #[arg(value_name = "SUBJECT")]
    pub subject: Subject,

    /// What it lets its holder do.
    #[arg(long, value_name = "ROLE", default_value = "caller")]
    pub role: Role,

    /// From when on it is not valid any more, such as 2027-01-31T12:00:00Z; never, unless given.
    #[arg(long, value_name = "TIME")]
    pub expires: Option<Expiry>,

    /// The file that gets its line, which is made if there is none. Without it the line is printed on standard error.
    #[arg(long, env = "CORE_API_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
}

impl Program {
    /// What this process was started with. Ends the process if an argument is wrong, or if they ask for help.
    #[must_use]
    pub fn from_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| secretive::without_urls(error).exit())
    }
}
