//! Real servers, started by the tests that need them, which end with the process that started them.

pub mod firestore;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;

use std::{
    env,
    fs::File,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A server that is killed when this is dropped, and also when the process that holds this ends in any way: its end of
/// a pipe is closed then.
#[derive(Debug)]
pub struct KillOnDrop(Child);

/// `$1` is a folder to remove afterwards, or nothing, `$2` the signal that ends the server; the rest is its command.
const KILL_WITH_PARENT: &str = r#"
folder=$1
signal=$2
shift 2
"$@" &
server=$!
cat >/dev/null <&3
kill -CONT "$server" 2>/dev/null
kill -"$signal" "$server" 2>/dev/null
wait "$server" 2>/dev/null
if [ -n "$folder" ]; then rm -rf "$folder"; fi
"#;

impl KillOnDrop {
    /// Starts the command, whose output goes to the file. The folder `remove` is removed with the server.
    ///
    /// # Errors
    ///
    /// If the log cannot be written, or there is no shell. A command that fails says so in the log.
    pub fn start(command: &[&str], log: &Path, remove: Option<&Path>) -> io::Result<Self> {
        Self::start_for("KILL", command, log, remove)
    }

    /// Starts a command that another signal than `KILL` ends cleanly.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_for(
        signal: &str,
        command: &[&str],
        log: &Path,
        remove: Option<&Path>,
    ) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let script = format!("exec 3<&0 </dev/null\n{KILL_WITH_PARENT}");
        let child = Command::new("sh")
            .args(["-c", &script, "kill-with-parent"])
            .arg(remove.unwrap_or(Path::new("")))
            .arg(signal)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // The shell returns once the server is gone.
        drop(self.0.wait());
    }
}

/// An unused port, below those that the system assigns to outgoing connections, and a different one each time,
/// because a server takes a while to take its own.
///
/// # Panics
///
/// If all of them are taken.
#[must_use]
pub fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let ports = 20_000..32_000;
    // Test processes that run concurrently begin at different ports.
    let start = process::id().wrapping_mul(100);
    (0..ports.len())
        .filter_map(|_| {
            let asked = ASKED.fetch_add(1, Ordering::Relaxed);
            let distance = start.wrapping_add(asked) % u32::try_from(ports.len()).ok()?;
            Some(ports.start + u16::try_from(distance).ok()?)
        })
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("a free port")
}

/// Prints that tests are skipped because a server is not on this machine. On a machine that must have it, in
/// CI, it fails instead.
///
/// # Panics
///
/// In CI, unless `may_be_missing` says that the server cannot be installed there.
pub fn skip(server: &str, why: &str, may_be_missing: bool) {
    let in_ci = env::var_os("CI").is_some();
    assert!(
        may_be_missing || !in_ci,
        "{server} is missing, and CI can have it: {why}"
    );
    // The test harness shows standard error of failing tests only, unless it is written past its capture.
    let message = format!("\n*** SKIPPED: the tests of {server} did not run: {why}\n");
    drop(io::stderr().write_all(message.as_bytes()));
}
