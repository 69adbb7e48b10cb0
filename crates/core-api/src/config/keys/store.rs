//! Where the keys are.

use std::path::PathBuf;

use clap::Args;

use crate::config::{DatabaseUrl, LogFormat, Rotation, ServiceUrl, StoreUrl, secretive::Secretive};

/// Which store, and how to log.
#[derive(Clone, Debug, Args)]
#[expect(clippy::doc_markdown, reason = "it is the text of --help")]
pub struct KeyStore {
    /// Where bookings are stored, as for the service.
    #[arg(
        long,
        env = "CORE_API_DATABASE",
        value_name = "URL",
        default_value = "sqlite:core-api.db",
        value_parser = Secretive::<DatabaseUrl>::new(),
        hide_env_values = true
    )]
    pub database: DatabaseUrl,

    /// Where keys are stored, as for the service.
    #[arg(
        long,
        env = "CORE_API_IDEMPOTENCY_STORE",
        value_name = "URL",
        default_value = "same",
        value_parser = Secretive::<StoreUrl>::new(),
        hide_env_values = true
    )]
    pub idempotency_store: StoreUrl,

    /// The file of the secret with which keys are stored, as for the service.
    #[arg(long, env = "CORE_API_SECRET_FILE", value_name = "FILE")]
    pub secret_file: Option<PathBuf>,

    /// While the secret is being changed, keys are found under both.
    #[command(flatten)]
    pub rotation: Rotation,

    /// Asks the service at this address, such as http://127.0.0.1:3000, instead of opening a store: only that process can
    /// read a SQLite file in use, or keys in memory. The service needs --tokens, and the command needs the token of an
    /// operator. The options that name a store and its secret are then ignored.
    #[arg(long, value_name = "URL", value_parser = Secretive::<ServiceUrl>::new())]
    pub service: Option<ServiceUrl>,

    /// Sends the token and the keys to a service on another machine in clear text, where everyone on the way can read them. Without
    /// this --service takes only an address of this machine, such as the end of a tunnel (ssh -L).
    #[arg(long, requires = "service")]
    pub clear_text: bool,

    /// The file with the token for --service. Without it the token is taken from the environment variable CORE_API_TOKEN.
    #[arg(long, value_name = "FILE", requires = "service")]
    pub token_file: Option<PathBuf>,

    /// The format of the log on standard error; by default pretty on a terminal and json elsewhere.
    #[arg(long, env = "CORE_API_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl KeyStore {
    /// Whether only one process can open the store.
    pub(crate) const fn is_of_one_process(&self) -> bool {
        matches!(
            (&self.idempotency_store, &self.database),
            (StoreUrl::Memory | StoreUrl::Sqlite(_), _)
                | (StoreUrl::Same, DatabaseUrl::Memory | DatabaseUrl::Sqlite(_))
        )
    }
}
