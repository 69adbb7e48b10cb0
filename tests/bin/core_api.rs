//! The program `core-api`, built here so that tests of this package can start it.

use std::process::ExitCode;

use clap::Parser;
use core_api::{Config, logging};

#[tokio::main]
async fn main() -> ExitCode {
    let config = Config::parse();
    logging::start(config.log_format);
    match core_api::run(&config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("core-api: {error}");
            ExitCode::FAILURE
        }
    }
}
