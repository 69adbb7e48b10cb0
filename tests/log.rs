//! The log of a test's thread.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing::{Level, subscriber};
use tracing_subscriber::fmt::MakeWriter;

/// What was logged.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Gathers the warnings and errors that this thread logs until the guard is dropped.
    #[must_use]
    pub fn start() -> (Self, subscriber::DefaultGuard) {
        Self::start_at(Level::WARN)
    }

    /// The same from this level on.
    #[must_use]
    pub fn start_at(level: Level) -> (Self, subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        let logging = subscriber::set_default(subscriber);
        (log, logging)
    }

    /// All of it.
    ///
    /// # Panics
    ///
    /// If it is not text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).expect("text")
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
