//! The service as a child process that is restarted when it crashes, so that clients can inject a crash and see the responses to
//! their retries.
//!
//! The supervisor owns the listening socket, and each child has it as its standard input. So the address stays the same, and
//! clients that connect between two children wait for the next one. The child's standard output is a socket to the supervisor: its
//! first line says that the child is ready, and when it is closed, the child knows that the supervisor has ended.

use std::{
    env, fmt,
    io::{self, BufRead, BufReader, Write, stdout},
    net::{SocketAddr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::{ExitStatus, Stdio},
    thread,
};

use idempotency::log_text::Causes;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    net,
    process::{Child, Command},
    sync::watch,
};

use crate::{
    shutdown::{Hangups, Signals},
    supervised::SUPERVISED,
};

/// Why a service could not be supervised.
#[derive(Debug)]
pub(crate) enum SupervisorError {
    /// The address cannot be bound.
    Listen(SocketAddr, io::Error),
    /// This program cannot be started as a child, or its end cannot be awaited.
    Child(io::Error),
    /// The process cannot listen for signals.
    Signals(io::Error),
}

/// Serves on this address in a child with the arguments of this process, and returns the exit code of the last child.
///
/// A child that was ready and is killed by a signal has crashed, and is replaced by another one. A child that exits, or ends
/// before it is ready, is not replaced: the next one would do the same.
pub(crate) async fn supervise(
    address: SocketAddr,
    hangups: Option<Hangups>,
) -> Result<u8, SupervisorError> {
    let mut signals = Signals::listen().map_err(SupervisorError::Signals)?;
    let listening = |error| SupervisorError::Listen(address, error);
    let listener = net::TcpListener::bind(address).await.map_err(listening)?;
    let listener = listener.into_std().map_err(listening)?;
    let mut hangups = hangups;
    let mut is_first = true;
    loop {
        let service = Service::start(&listener, is_first).map_err(SupervisorError::Child)?;
        let ended = service.watch(&mut signals, hangups.as_mut()).await;
        let Ended {
            status,
            was_ready,
            was_stopped,
        } = ended.map_err(SupervisorError::Child)?;
        match (status.code(), status.signal()) {
            (Some(code), _) => return Ok(u8::try_from(code).unwrap_or(u8::MAX)),
            // It did not yet listen for signals, and had nothing to wait for.
            (None, _) if was_stopped && !was_ready => return Ok(0),
            (None, Some(signal)) if was_ready && !was_stopped => {
                tracing::warn!(signal, "the service has crashed; starting it again");
            }
            // The exit code by which shells report a signal.
            (None, signal) => {
                return Ok(u8::try_from(128 + signal.unwrap_or(0)).unwrap_or(u8::MAX));
            }
        }
        is_first = false;
    }
}

/// One child.
struct Service {
    process: Child,
    is_ready: watch::Receiver<bool>,
    /// The child ends when this is closed.
    _lifeline: UnixStream,
}

/// How a child has ended.
struct Ended {
    status: ExitStatus,
    was_ready: bool,
    /// Whether it was asked to end.
    was_stopped: bool,
}

impl Service {
    fn start(listener: &TcpListener, is_first: bool) -> io::Result<Self> {
        let (lifeline, its_end) = UnixStream::pair()?;
        let process = Command::new(env::current_exe()?)
            .args(env::args_os().skip(1))
            .env(SUPERVISED, "1")
            .stdin(Stdio::from(OwnedFd::from(listener.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(its_end)))
            // Ctrl-C reaches every process of the terminal's group, and a second signal would cut requests off.
            .process_group(0)
            .spawn()?;
        tracing::info!(
            process = process.id(),
            "the service runs under a supervisor"
        );
        let (ready, is_ready) = watch::channel(false);
        let output = lifeline.try_clone()?;
        thread::spawn(move || {
            let mut line = String::new();
            if matches!(BufReader::new(output).read_line(&mut line), Ok(1..)) {
                ready.send_replace(true);
                if is_first {
                    drop(stdout().write_all(line.as_bytes()));
                }
            }
        });
        Ok(Self {
            process,
            is_ready,
            _lifeline: lifeline,
        })
    }

    /// Passes signals on until the child has ended.
    async fn watch(
        mut self,
        signals: &mut Signals,
        mut hangups: Option<&mut Hangups>,
    ) -> io::Result<Ended> {
        let mut was_stopped = false;
        let status = loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.next().await,
                    None => std::future::pending().await,
                }
            };
            let signal = tokio::select! {
                status = self.process.wait() => break status?,
                () = signals.next() => {
                    was_stopped = true;
                    Signal::TERM
                }
                // A child that is not ready has yet to read its files, or the signal would kill it.
                () = hangup => if *self.is_ready.borrow() { Signal::HUP } else { continue },
            };
            // Only a child that has not been awaited has an id, so no other process gets the signal.
            let id = self.process.id().and_then(|id| i32::try_from(id).ok());
            if let Some(id) = id.and_then(Pid::from_raw) {
                // It fails if the child has just ended.
                let _ = kill_process(id, signal);
            }
        };
        Ok(Ended {
            status,
            // The other end is closed, so the line has been read if there is one.
            was_ready: self.is_ready.wait_for(|&ready| ready).await.is_ok(),
            was_stopped,
        })
    }
}

impl fmt::Display for SupervisorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => {
                write!(formatter, "--listen {address}: {}", Causes(error))
            }
            Self::Child(error) => write!(
                formatter,
                "--fault-injection: the service cannot be started as a child process: {}",
                Causes(error)
            ),
            Self::Signals(error) => Causes(error).fmt(formatter),
        }
    }
}
