//! Whether a server, in any language, keeps the rules of a dialect of idempotency keys, told from its responses alone.
//!
//! ```text
//! cargo run -p tests --bin conformance -- http://127.0.0.1:3000
//! ```
//!
//! A dialect (`dialects/`) says how keys are sent, and has the rules of one specification. A target (`targets/`) says which requests
//! the server takes. Both are files: what the program knows of neither, it does not guess. A rule that the target cannot be asked
//! about is "not tried", which is never a pass.

mod arguments;
mod dialect;
mod effects;
mod exchange;
mod expectation;
mod files;
mod keys;
mod report;
mod rule_run;
mod run;
mod table;
mod target;
mod template;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;

/// What a script learns from the exit code, beside 0.
const MUST_FAILED: u8 = 1;
const RUN_BROKEN: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.execute().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(RUN_BROKEN)
        }
    }
}
