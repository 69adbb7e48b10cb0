//! The program `core-api` as a process of its own.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

/// The program, killed when this is dropped. Nothing that is [`UNSEEN`] may be in its log then.
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it has written to standard error so far. The sender is dropped at its end.
    log: watch::Receiver<String>,
    reader: Option<JoinHandle<()>>,
    /// The line that says that it is ready.
    pub ready_line: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A part of every key, every body and every password that is sent.
pub const UNSEEN: &str = "-that-nobody-may-see";

impl Process {
    /// Starts the program on a free port, and returns once it is ready. Its log can be read if `stderr` is a pipe.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start(mut command: Command, stderr: Stdio) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program");
        // The command holds the other end of the log's pipe, which would never end.
        drop(command);
        let (written, log) = watch::channel(String::new());
        let stderr = child.stderr.take();
        let reader = thread::spawn(move || {
            let stderr = stderr.into_iter().map(BufReader::new);
            for line in stderr.flat_map(BufRead::lines) {
                let line = line.expect("its log is text");
                written.send_modify(|log| log.extend([&line, "\n"]));
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("its output"));
        let mut ready_line = String::new();
        stdout.read_line(&mut ready_line).expect("a line");
        let address = ready_line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once(' '))
            .map(|(address, _)| address.parse().expect("an address"));
        Self {
            address: address.unwrap_or_else(|| panic!("it did not start: {}", *log.borrow())),
            child,
            stdout,
            log,
            reader: Some(reader),
            ready_line,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn logged(&self) -> String {
        self.log.borrow().clone()
    }

    /// Waits until the log has this text.
    ///
    /// # Panics
    ///
    /// If the program ends without it.
    pub async fn wait_for_log(&self, text: &str) {
        self.wait_for_logs(text, 1).await;
    }

    /// Waits until the log has this text as often as this.
    ///
    /// # Panics
    ///
    /// If the program ends without it.
    pub async fn wait_for_logs(&self, text: &str, times: usize) {
        let mut log = self.log.clone();
        let is_there = |log: &String| log.matches(text).count() >= times;
        let found = log.wait_for(is_there).await.is_ok();
        assert!(found, "the program ended without {text:?}");
    }

    /// Returns once its log has ended, because the program ends.
    pub async fn log_ended(&self) {
        let mut log = self.log.clone();
        while log.changed().await.is_ok() {}
    }

    /// Sends it this signal, such as `TERM`.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.expect("a shell runs").success());
    }

    /// Waits for its end, and returns its status, the rest of its standard output and all of its log.
    ///
    /// # Panics
    ///
    /// If its output cannot be read.
    pub fn wait(&mut self) -> (ExitStatus, String, String) {
        let status = self.child.wait().expect("an exit status");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("text");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its log is text");
        }
        (status, rest, self.logged())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            return;
        }
        if let Some(reader) = self.reader.take() {
            reader.join().expect("its log is text");
        }
        assert_hidden(&self.log.borrow());
    }
}

/// Asserts that nothing of a key, a body or a password is in the log.
///
/// # Panics
///
/// If something is.
#[track_caller]
pub fn assert_hidden(log: &str) {
    assert!(!log.contains("nobody"), "{log}");
}
