//! The program `core-api`.

use std::process::ExitCode;

use core_api::{Program, logging};

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program::from_process();
    if let Some(command) = &program.command {
        return core_api::run_command(command).await;
    }
    logging::start(program.config.log_format);
    core_api::run_supervised(&program.config).await
}
