//! A booking service whose writes are safe to retry: the program `core-api` as a library, so that tests can
//! run the same service in their own process.
//!
//! ```
//! use clap::Parser;
//! use core_api::{Config, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let arguments = ["core-api", "--listen", "127.0.0.1:0", "--database", "memory:"];
//! let server = Server::start(&Config::try_parse_from(arguments)?).await?;
//! println!("{}", server.address());
//! # let stop = async {};
//! server.serve(stop).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! A request passes these modules in order: `cors`; `router`, with every route and the middleware; `caller`, which
//! authenticates it; `bookings`, with the handlers; `json` and `bookings/validation`, which validate its body; and `database`, with
//! a module for each place where bookings are stored.
//!
//! Of the others, `error` has every response that is not a success, `booking` the types that all of these share, and `tokens`
//! the token file. `keys` is what operators do with keys: by a command in `keys_command`, and over HTTP in `admin`. `check_command`
//! finds what would go wrong, `page` is the page at `/`, and `supervisor` is the process that restarts the service after a crash.
//! [`Config`] has the options, and [`Server`] starts and stops all of it.
//!
//! Modules import each other in one direction only; `tests/layers` has the list of layers.
//!
//! # Features
//!
//! `firestore`, `postgres`, `redis` and `sqlite`, all on by default, are the databases that the options can name. `memory:` is
//! always available. `metrics`, `otlp` and `swagger-ui`, also on by default, provide `GET /metrics`, send traces, and provide `GET /docs`.

mod access_log;
mod admin;
mod app;
mod assets;
mod booking;
mod bookings;
mod caller;
mod check_command;
mod config;
mod connections;
mod cors;
mod database;
#[cfg(feature = "swagger-ui")]
mod docs;
mod error;
mod faults;
mod health;
#[cfg(all(test, feature = "sqlite"))]
mod interrupted;
mod json;
mod keys;
mod keys_command;
pub mod logging;
#[cfg(feature = "metrics")]
mod metrics;
mod openapi;
mod page;
mod probe;
mod progress;
mod reads;
mod router;
mod secret;
mod sent_token;
mod server;
mod shutdown;
mod supervised;
#[cfg(unix)]
mod supervisor;
mod token_new;
mod tokens;
#[cfg(feature = "otlp")]
mod traces;

use std::{
    error::Error,
    io::{Write, stdout},
    process::ExitCode,
    thread,
};

pub use config::Check;
pub use config::Chosen;
pub use config::Command;
pub use config::Config;
pub use config::DatabaseUrl;
pub use config::EraseKeys;
pub use config::IdArgument;
pub use config::KeyFilter;
pub use config::KeyStore;
pub use config::KeyText;
pub use config::KeysCommand;
pub use config::Limits;
pub use config::ListKeys;
pub use config::LogFormat;
pub use config::NewToken;
pub use config::Origin;
#[cfg(feature = "otlp")]
pub use config::OtlpEndpoint;
pub use config::Program;
pub use config::PurgeKeys;
pub use config::RedisUrl;
pub use config::ReleaseKeys;
pub use config::ResolveKey;
pub use config::Rotation;
pub use config::ServerUrl;
pub use config::ServiceUrl;
pub use config::ShowKey;
pub use config::StoreUrl;
pub use config::TailKeys;
pub use config::TokenCommand;
#[cfg(feature = "otlp")]
pub use config::Tracing;
pub use keys::Age;
pub use keys::KeyId;
pub use server::Server;
pub use server::ServerError;
pub use tokens::Expiry;
pub use tokens::Role;
pub use tokens::Subject;

#[cfg(feature = "otlp")]
use idempotency::log_text::Causes;
#[cfg(unix)]
use shutdown::Hangups;
use shutdown::Signals;
use supervised::Supervised;

/// Starts the log, and with `--otlp-endpoint` traces.
///
/// # Errors
///
/// If no spans can be sent. The log is not started then.
pub fn start_logging(config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
    #[cfg(feature = "otlp")]
    if let Some(endpoint) = &config.tracing.otlp_endpoint {
        let layer = traces::layer(endpoint)
            .map_err(|error| format!("--otlp-endpoint {endpoint}: {}", Causes(&*error)))?;
        logging::start_with(config.log_format, Some(layer));
        return Ok(());
    }
    logging::start(config.log_format);
    Ok(())
}

/// [`run_to_exit`], and with `--fault-injection` in a child process, under a supervisor that starts it again when it crashes.
///
/// For a program that takes these options as its arguments: the child is the same program with the same arguments. Only Unix has a
/// supervisor.
pub async fn run_supervised(config: &Config) -> ExitCode {
    #[cfg(unix)]
    if Supervised::is_this_process() {
        let ended = match Supervised::from_process() {
            Ok(supervised) => serve(config, Some(supervised)).await,
            Err(error) => Err(error.into()),
        };
        return exit(&ended);
    } else if config.fault_injection && !config.no_supervisor {
        return supervise(config).await;
    }
    run_to_exit(config).await
}

#[cfg(unix)]
async fn supervise(config: &Config) -> ExitCode {
    // Without tokens a service has no files to read again.
    let hangups = config.tokens.as_ref().map(|_| Hangups::listen());
    let ended = match hangups.transpose() {
        Ok(hangups) => supervisor::supervise(config.listen, hangups).await,
        Err(error) => Err(supervisor::SupervisorError::Signals(error)),
    };
    if let Err(error) = &ended {
        logging::say(&format!("core-api: {error}"));
    }
    logging::flush();
    ended.map_or(ExitCode::FAILURE, ExitCode::from)
}

/// [`run`] as a whole program. The reason why it ends is printed on standard error, after the log.
pub async fn run_to_exit(config: &Config) -> ExitCode {
    exit(&run(config).await)
}

fn exit(ended: &Result<(), ServerError>) -> ExitCode {
    if let Err(error) = ended {
        logging::say(&format!("core-api: {error}"));
    }
    #[cfg(feature = "otlp")]
    traces::flush();
    logging::flush();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Executes the command and prints the result.
pub async fn run_command(command: &Command) -> ExitCode {
    let done = match command {
        Command::Token(TokenCommand::New(asked)) => token_new::run(asked).map(|()| true),
        Command::Check(asked) => check_command::run(asked).await,
        Command::Keys(command) => keys_command::run(command).await,
    };
    if let Err(error) = &done {
        logging::say(&format!("core-api: {error}"));
    }
    logging::flush();
    match done {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Serves until a signal asks the process to end, and returns once every request under way has its response.
///
/// # Errors
///
/// If it cannot start, or if requests were still running when the time limit for the stop expired.
pub async fn run(config: &Config) -> Result<(), ServerError> {
    serve(config, None).await
}

async fn serve(config: &Config, supervised: Option<Supervised>) -> Result<(), ServerError> {
    // First, so that a signal during the start is an orderly stop too.
    let mut signals = Signals::listen()?;
    let server = match supervised {
        None => Server::start(config).await?,
        Some(supervised) => Server::start_supervised(config, supervised).await?,
    };
    // Standard output may be closed or not read; the service runs all the same.
    let invitation = server.invitation();
    thread::spawn(move || drop(writeln!(stdout(), "{invitation}")));
    server
        .serve(async move {
            signals.next().await;
            signals.exit_at_the_next();
        })
        .await
}
