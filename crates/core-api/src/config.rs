//! The options: each is a flag and an environment variable.

mod check;
mod keys;
mod limits;
mod origin;
mod program;
mod rotation;
mod secretive;
mod server_url;
mod service_url;
#[cfg(feature = "otlp")]
mod traces;
mod urls;

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf};

use clap::{Parser, ValueEnum, builder::BoolishValueParser};

use secretive::Secretive;

pub use check::Check;
pub use keys::Chosen;
pub use keys::EraseKeys;
pub use keys::IdArgument;
pub use keys::KeyFilter;
pub use keys::KeyStore;
pub use keys::KeyText;
pub use keys::KeysCommand;
pub use keys::ListKeys;
pub use keys::PurgeKeys;
pub use keys::ReleaseKeys;
pub use keys::ResolveKey;
pub use keys::ShowKey;
pub use keys::TailKeys;
pub use limits::Limits;
pub use origin::Origin;
pub use program::Command;
pub use program::NewToken;
pub use program::Program;
pub use program::TokenCommand;
pub use rotation::Rotation;
pub use server_url::ServerUrl;
pub use service_url::ServiceUrl;
#[cfg(feature = "otlp")]
pub use traces::OtlpEndpoint;
#[cfg(feature = "otlp")]
pub use traces::Tracing;
pub use urls::DatabaseUrl;
pub use urls::RedisUrl;
pub use urls::StoreUrl;

/// A booking service whose writes are safe to retry.
///
/// Send bookings to /bookings with your own Idempotency-Key header, such as a UUID, and send the same request again if no
/// response arrives: it takes effect once, and every retry receives the first response.
#[derive(Clone, Debug, Parser)]
#[command(name = "core-api", version)]
#[expect(clippy::doc_markdown, reason = "it is the text of --help")]
pub struct Config {
    /// The IP address and port to listen on; port 0 chooses a free one.
    #[arg(long, env = "CORE_API_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3000", value_parser = address)]
    pub listen: SocketAddr,

    /// Where bookings are stored: sqlite:PATH, a file that is created if it is missing; postgres://…, a database
    /// that any number of services can share; firestore://PROJECT, the default database of a Google Cloud project,
    /// or of the emulator that FIRESTORE_EMULATOR_HOST names; or memory:, which loses them when the service ends.
    ///
    /// A PostgreSQL server on another machine needs ?sslmode=verify-full in its URL, with &sslrootcert=FILE for your own
    /// certificate authority. The default mode, prefer, is refused. Other modes are accepted with a warning if the URL names them.
    #[arg(
        long,
        env = "CORE_API_DATABASE",
        value_name = "URL",
        default_value = "sqlite:core-api.db",
        value_parser = Secretive::<DatabaseUrl>::new(),
        hide_env_values = true
    )]
    pub database: DatabaseUrl,

    /// Where idempotency keys and their responses are stored: same, the database of the bookings; sqlite:PATH, a separate
    /// file; postgres://…, redis://… (rediss:// with TLS) or firestore://PROJECT, which several processes can share;
    /// or memory:, which loses them when the service ends.
    ///
    /// With same, a booking, its key and its response are one commit: a service that is killed before the commit leaves
    /// nothing, and a retry runs at once.
    ///
    /// Otherwise, and with --database memory:, a request holds its key under a lease of 30 seconds, taken before the booking
    /// is written and renewed while the request runs. If the service is killed in between, retries receive 409
    /// until the lease expires, and then run again; if the booking was already written, they may book a second time.
    #[arg(
        long,
        env = "CORE_API_IDEMPOTENCY_STORE",
        value_name = "URL",
        default_value = "same",
        value_parser = Secretive::<StoreUrl>::new(),
        hide_env_values = true
    )]
    pub idempotency_store: StoreUrl,

    /// How many bytes the keys and their responses may take; by default 1 GB in memory and 10 GB in a file. Above it new keys
    /// are refused with 503. Before that, a caller that uses more than eight times what is left for all is refused with 429.
    /// Stored responses are still replayed. Not for servers, which have their own limits.
    #[arg(long, env = "CORE_API_IDEMPOTENCY_STORE_LIMIT", value_name = "BYTES")]
    pub idempotency_store_limit: Option<NonZeroUsize>,

    /// The file of the bearer tokens that requests to /bookings need. Without it everyone who can reach the service may do everything.
    ///
    /// One line for each token, as "core-api token new" writes it: sha256=… subject=… role=… and, if it expires, expires=…. A
    /// viewer reads the bookings of its subject, a caller also writes them, and an operator reads and changes those of all
    /// subjects. The file is read again within two seconds of a change, and on SIGHUP. A version with a mistake is reported in
    /// the log, and the previous one stays valid. Deleting the file therefore revokes nothing: write a comment into it instead.
    #[arg(long, env = "CORE_API_TOKENS", value_name = "FILE")]
    pub tokens: Option<PathBuf>,

    /// Requires a token, of any role, for /healthz, /readyz and /metrics too. Needs --tokens.
    #[arg(long, env = "CORE_API_PROTECT_HEALTH", value_parser = BoolishValueParser::new())]
    pub protect_health: bool,

    /// Requires a token, of any role, for /openapi.json and /docs too. A browser sends none by itself, so it cannot open /docs then. Needs
    /// --tokens.
    #[arg(long, env = "CORE_API_PROTECT_DOCS", value_parser = BoolishValueParser::new())]
    pub protect_docs: bool,

    /// An origin (scheme, host and port) whose pages may call the service from a browser; repeat the option, or separate several
    /// origins by commas. Without it browsers block calls from pages of other origins. * is refused: without --tokens
    /// the service has no sign-in, so any page could write bookings through the browser of a visitor who can reach the service.
    #[arg(
        long = "cors-origin",
        env = "CORE_API_CORS_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    pub cors_origins: Vec<Origin>,

    /// The file of the secret with which keys are stored, so that a copy of the database alone does not reveal them. Without this
    /// option the service makes its own secret for keys in memory and in a file: for sqlite:PATH in PATH.secret, at the first start
    /// that finds no live key. From then on it does not start without that file.
    ///
    /// For the servers postgres://…, redis://… and firestore://… the file is only read, and every service that shares the server
    /// needs the same one; without it keys are stored without a secret. With a different secret no stored key is found, so change
    /// it by --next-secret-file. Use 32 random bytes, as "openssl rand -hex 32" prints them; trailing white space is ignored.
    #[arg(long, env = "CORE_API_SECRET_FILE", value_name = "FILE")]
    pub secret_file: Option<PathBuf>,

    /// The options for changing the secret.
    #[command(flatten)]
    pub rotation: Rotation,

    /// Lets clients inject failures to test their retries: writes honour the header fields X-Fault-Delay-Ms: N,
    /// X-Fault-Status: N, X-Fault-Panic: 1 and X-Fault-Crash: before-commit or after-commit. Not for production.
    ///
    /// On Unix the service then runs in a child process, under a supervisor that restarts it when it crashes.
    #[arg(long, env = "CORE_API_FAULT_INJECTION", value_parser = BoolishValueParser::new())]
    pub fault_injection: bool,

    /// Runs the service in this process even with --fault-injection, if something else kills and restarts it. X-Fault-Crash is
    /// then refused.
    #[arg(long, env = "CORE_API_NO_SUPERVISOR", value_parser = BoolishValueParser::new())]
    pub no_supervisor: bool,

    /// The format of the log on standard error; by default pretty on a terminal and json elsewhere.
    #[arg(long, env = "CORE_API_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// The limits for clients.
    #[command(flatten)]
    pub limits: Limits,

    /// Where traces go.
    #[cfg(feature = "otlp")]
    #[command(flatten)]
    pub tracing: Tracing,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object a line, for machines.
    Json,
}

impl Config {
    /// The options of this process. Ends the process if one of them is not valid, or if they ask for help.
    #[must_use]
    pub fn from_process() -> Self {
        Self::try_parse().unwrap_or_else(|error| secretive::without_urls(error).exit())
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:3000 or [::1]:3000".into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_arguments_it_serves_locally_from_a_file() {
        let config = Config::try_parse_from(["core-api"]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:3000".parse().unwrap());
        assert_eq!(config.database, DatabaseUrl::Sqlite("core-api.db".into()));
        assert_eq!(config.idempotency_store, StoreUrl::Same);
        assert_eq!(config.idempotency_store_limit, None);
        assert_eq!(config.secret_file, None);
        assert_eq!(config.tokens, None);
        assert!(!config.protect_health);
        assert!(!config.protect_docs);
        assert!(!config.fault_injection);
        assert_eq!(config.log_format, None);
    }
}
