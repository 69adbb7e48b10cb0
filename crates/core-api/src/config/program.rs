//! The commands of the program.

use std::{env, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use super::{Check, Config, KeysCommand, secretive};
use crate::tokens::{Expiry, Role, Subject};

/// A booking service whose writes are safe to retry. Without a command the service starts.
///
/// Send bookings to /bookings with your own Idempotency-Key header, such as a UUID, and send the same request again if no
/// response arrives: it takes effect once, and every retry receives the first response.
#[derive(Clone, Debug, Parser)]
#[command(name = "core-api", version, args_conflicts_with_subcommands = true)]
pub struct Program {
    /// The options of the service.
    #[command(flatten)]
    pub config: Config,

    /// The command, if any.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands of the program.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Checks whether a service with these options would work; like a start, it creates and upgrades tables.
    ///
    /// It opens the databases as the service does, claims and releases a key, and reads the settings of the servers. Missing
    /// tables are created, as at a start, but files and secrets are not. Only one process can open a SQLite file: while the service
    /// runs, it is asked at /readyz instead, and while the check has the file open and reads all of it, no service can start
    /// with it. The exit code is 1 if there is a problem.
    Check(Box<Check>),

    /// Makes bearer tokens for --tokens.
    #[command(subcommand)]
    Token(TokenCommand),

    /// Lists, shows and changes idempotency keys, in a store or in a running service.
    ///
    /// No key is printed: an id is its digest. Only one process can open a SQLite file, and keys in memory exist only in the service: ask
    /// the running service with --service.
    #[command(subcommand)]
    Keys(Box<KeysCommand>),
}

/// The commands for tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Prints a new token once: only its SHA-256 is stored.
    ///
    /// A service with the same --tokens accepts it within two seconds. To revoke it, remove its line from the file.
    New(NewToken),
}

/// The options of a new token.
#[derive(Clone, Debug, Args)]
pub struct NewToken {
    /// The caller, such as the name of a customer or a service: 1 to 128 visible ASCII characters. Keys and
    /// bookings belong to the subject; a second token of the same subject gets the same responses.
    #[arg(value_name = "SUBJECT")]
    pub subject: Subject,

    /// What its holder may do.
    #[arg(long, value_name = "ROLE", default_value = "caller")]
    pub role: Role,

    /// When it expires, such as 2027-01-31T12:00:00Z; by default never.
    #[arg(long, value_name = "TIME")]
    pub expires: Option<Expiry>,

    /// The file to which its line is added; it is created if it does not exist. Without the option the line is printed on standard error.
    #[arg(long, env = "CORE_API_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,
}

impl Program {
    /// The arguments of this process. Ends the process if one of them is not valid, or if they ask for help.
    #[must_use]
    pub fn from_process() -> Self {
        let is_command = env::args_os().any(|word| word == "keys" || word == "token");
        Self::try_parse().unwrap_or_else(|error| {
            let error = if is_command {
                secretive::without_arguments(error)
            } else {
                secretive::without_urls(error)
            };
            error.exit()
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// A command with another variable or another default would change a different store than the service's.
    #[test]
    fn the_commands_of_keys_find_the_store_as_the_service_does() {
        let program = Program::command();
        let keys = program.find_subcommand("keys").unwrap();
        for name in [
            "database",
            "idempotency_store",
            "secret_file",
            "next_secret_file",
            "previous_secret_file",
            "log_format",
        ] {
            let of = |command: &clap::Command| {
                let argument = command.get_arguments().find(|found| found.get_id() == name);
                let argument = argument.unwrap();
                let (env, default) = (argument.get_env(), argument.get_default_values());
                (
                    env.map(ToOwned::to_owned),
                    default.to_vec(),
                    argument.get_long().map(ToOwned::to_owned),
                )
            };
            let expected = of(&program);
            assert!(expected.0.is_some());
            for command in keys.get_subcommands() {
                assert_eq!(of(command), expected, "{name} of {}", command.get_name());
            }
        }
    }
}
