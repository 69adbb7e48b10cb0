//! The child's side of `supervisor`.

#[cfg(unix)]
use std::{
    env,
    io::{self, Read, stdin, stdout},
    net::{Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    thread,
};

#[cfg(unix)]
use rustix::process::{Signal, getpid, kill_process};

#[cfg(unix)]
use crate::logging;

/// The environment variable that makes a process the child of a supervisor.
#[cfg(unix)]
pub(crate) const SUPERVISED: &str = "CORE_API_SUPERVISED";

/// A process that a supervisor has started, and restarts if it crashes.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Supervised(());

/// This system has no supervisor.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) enum Supervised {}

#[cfg(unix)]
impl Supervised {
    /// Whether this process has a supervisor.
    pub(crate) fn is_this_process() -> bool {
        env::var_os(SUPERVISED).is_some()
    }

    /// From now on, ends this process when its supervisor ends.
    pub(crate) fn from_process() -> io::Result<Self> {
        let lifeline = stdout().as_fd().try_clone_to_owned()?;
        let mut lifeline = UnixStream::from(lifeline);
        thread::Builder::new()
            .name("lifeline".into())
            .spawn(move || {
                // The supervisor writes nothing.
                drop(lifeline.read(&mut [0]));
                die();
            })?;
        Ok(Self(()))
    }

    /// The socket that all children of the supervisor listen on.
    pub(crate) fn listener(&self) -> io::Result<TcpListener> {
        let listener = TcpListener::from(stdin().as_fd().try_clone_to_owned()?);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Refuses new connections, although the supervisor keeps the socket open.
    pub(crate) fn stop_listening(&self) {
        // The call is the same for every socket, but the standard library has it for streams only.
        if let Ok(listener) = self.listener() {
            drop(TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both));
        }
    }

    /// Ends the process as `kill -9` does: nothing is completed, released or closed.
    pub(crate) fn crash(&self) -> ! {
        logging::flush();
        die()
    }
}

#[cfg(unix)]
fn die() -> ! {
    // It cannot fail.
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

#[cfg(not(unix))]
impl Supervised {
    pub(crate) fn listener(&self) -> std::io::Result<std::net::TcpListener> {
        match *self {}
    }

    pub(crate) fn stop_listening(&self) {
        match *self {}
    }

    pub(crate) fn crash(&self) -> ! {
        match *self {}
    }
}
