//! The log on standard error. Standard output has only the line that says where the service listens.
//!
//! A log that cannot be written, or is not read, delays no request. Its lines are lost and counted.

mod writer;

use std::{
    any::Any,
    io::{IsTerminal, Write, stderr},
    panic,
    sync::OnceLock,
};

use idempotency::log_text::Printable;
use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::config::LogFormat;
use writer::Writer;

static LOG: OnceLock<Writer> = OnceLock::new();

/// The layer that receives the spans of requests, if any.
pub(crate) type Traces = Option<Box<dyn Layer<Registry> + Send + Sync>>;

/// Sends the log, including panics, to standard error from now on.
///
/// # Panics
///
/// If the process already has a log, or no thread can be started for it.
pub fn start(format: Option<LogFormat>) {
    start_with(format, None);
}

/// Sends spans somewhere too.
pub(crate) fn start_with(format: Option<LogFormat>, traces: Traces) {
    let on_a_terminal = stderr().is_terminal();
    let format = format.unwrap_or(if on_a_terminal {
        LogFormat::Pretty
    } else {
        LogFormat::Json
    });
    let writer = Writer::start(stderr()).expect("a thread for the log");
    let log = tracing_subscriber::fmt::layer()
        .with_writer(LOG.get_or_init(|| writer).clone())
        // It would report what it cannot format on standard error, with a macro that can panic.
        .log_internal_errors(false);
    // sqlx warns of unknown parameters in the URL of a server, and repeats them, `sslpassword` among them.
    let shown = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("sqlx_postgres::options::parse", LevelFilter::OFF);
    #[cfg(feature = "otlp")]
    let shown = shown.with_target(crate::traces::TARGET, LevelFilter::OFF);
    let log = match format {
        LogFormat::Pretty => log.with_ansi(on_a_terminal).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let registry = tracing_subscriber::registry().with(traces);
    registry.with(log.with_filter(shown)).init();
    panic::set_hook(Box::new(|panic| {
        // The text is the program's own: no panic message here contains a key or a body.
        tracing::error!(
            location = panic.location().map(tracing::field::display),
            "panicked: {}",
            Printable(message(panic.payload())),
        );
    }));
}

/// Writes a line to standard error as it is, after what was logged before.
pub(crate) fn say(line: &str) {
    match LOG.get() {
        Some(log) => log.line(format!("{line}\n").into()),
        // Standard error may be closed, which must not cause a panic.
        None => drop(writeln!(stderr(), "{line}")),
    }
}

/// Waits at most two seconds until the log is written. Lines that are not written when the process ends are lost.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush();
    }
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
