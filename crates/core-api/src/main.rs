//! The program `core-api`.

use std::process::ExitCode;

use core_api::Program;

#[tokio::main]
async fn main() -> ExitCode {
    let program = Program::from_process();
    if let Some(command) = &program.command {
        return core_api::run_command(command).await;
    }
    if let Err(error) = core_api::start_logging(&program.config) {
        eprintln!("core-api: {error}");
        return ExitCode::FAILURE;
    }
    core_api::run_supervised(&program.config).await
}
