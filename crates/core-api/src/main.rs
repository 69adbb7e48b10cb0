//! The program `core-api`.

use std::process::ExitCode;

use core_api::{Config, logging};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::from_process();
    logging::start(config.log_format);
    core_api::run_to_exit(&config).await
}
