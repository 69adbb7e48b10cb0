//! The program `core-api`, built here so that tests of this package can start it.

use std::process::ExitCode;

use core_api::{Program, logging};

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program::from_process();
    if let Some(command) = &program.command {
        return core_api::run_command(command).await;
    }
    logging::start(program.config.log_format);
    core_api::run_to_exit(&program.config).await
}
