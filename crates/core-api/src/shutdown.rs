//! The signals that the service handles: those that ask it to end, and the one to read its files again.

use std::io;

use tokio::signal;

use crate::logging;

/// SIGINT, and SIGTERM where there is one.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: signal::unix::Signal,
    #[cfg(unix)]
    interrupt: signal::unix::Signal,
}

impl Signals {
    /// Listens from now on.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        use signal::unix::SignalKind;
        Ok(Self {
            terminate: signal::unix::signal(SignalKind::terminate())?,
            interrupt: signal::unix::signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Listens from now on.
    #[cfg(not(unix))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same shape as on Unix, where it can fail"
    )]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the process at the next signal, whatever is under way: an operator who sends two does not want to wait.
    pub(crate) fn exit_at_the_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            tracing::warn!("second signal to stop: ending at once");
            logging::flush();
            std::process::exit(1);
        });
    }
}

/// SIGHUP, where there is one. It does not end a process that listens to it.
#[derive(Debug)]
pub(crate) struct Hangups(#[cfg(unix)] signal::unix::Signal);

impl Hangups {
    /// Listens from now on.
    #[cfg(unix)]
    pub(crate) fn listen() -> io::Result<Self> {
        signal::unix::signal(signal::unix::SignalKind::hangup()).map(Self)
    }

    /// Waits for the next signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Listens from now on.
    #[cfg(not(unix))]
    #[expect(
        clippy::unnecessary_wraps,
        reason = "the same shape as on Unix, where it can fail"
    )]
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self())
    }

    /// Waits for the next signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        std::future::pending::<()>().await;
    }
}
