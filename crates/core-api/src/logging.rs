//! The log on standard error. Standard output is for the one line that says where the service listens.

use std::{
    any::Any,
    io::{IsTerminal, stderr},
    panic,
};

use tracing_subscriber::filter::LevelFilter;

use crate::LogFormat;

/// Sends the log to standard error from now on, panics included.
///
/// # Panics
///
/// If the process has a log already.
pub fn start(format: Option<LogFormat>) {
    let on_a_terminal = stderr().is_terminal();
    let format = format.unwrap_or(match on_a_terminal {
        true => LogFormat::Pretty,
        false => LogFormat::Json,
    });
    let log = tracing_subscriber::fmt()
        .with_writer(stderr)
        .with_max_level(LevelFilter::INFO);
    match format {
        LogFormat::Pretty => log.with_ansi(on_a_terminal).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    panic::set_hook(Box::new(|panic| {
        // Its text is the program's own, for nothing here puts a key or a body into one.
        tracing::error!(
            location = panic.location().map(tracing::field::display),
            "panicked: {}",
            message(panic.payload()),
        );
    }));
}

fn message(payload: &dyn Any) -> &str {
    match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(message), _) => message,
        (_, Some(message)) => message,
        (None, None) => "no message",
    }
}
