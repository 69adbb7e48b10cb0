//! `core-api` as a process of its own, and a client for it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{reply::Reply, servers::skip};
use tokio::sync::watch;

use crate::within_a_minute;

/// The program, killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    /// What it has written to standard error so far.
    log: watch::Receiver<String>,
    reader: Option<JoinHandle<()>>,
    client: Client,
    address: String,
    pub(crate) ready_line: String,
    _folder: TempDir,
}

impl Service {
    /// Starts it with these options, and returns once it is ready.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    /// Starts one whose clock is a day ahead of everybody else's; none where that cannot be had.
    pub(crate) async fn start_a_day_ahead(
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<Self> {
        // The loader knows where this system has its libraries, and goes on without one that is missing.
        let faketime = [
            ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1"),
            ("FAKETIME", "+1d"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let service = Self::start_with(options, &[&faketime, variables].concat());
        let health = format!("http://{}/healthz", service.address);
        let answer = service.client.get(health).send().await;
        let date = answer.expect("an answer").headers()["date"].clone();
        let date = httpdate::parse_http_date(date.to_str().expect("text")).expect("a date");
        if date > SystemTime::now() + Duration::from_secs(12 * 3600) {
            return Some(service);
        }
        skip(
            "skewed clocks",
            "libfaketime is not installed (Debian: apt-get install faketime)",
            false,
        );
        None
    }

    /// Starts it with these environment variables in addition.
    pub(crate) fn start_with(options: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"))
            .current_dir(folder.path())
            .args(["--listen", "127.0.0.1:0", "--fault-injection"])
            .args(options)
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the service");
        let (written, log) = watch::channel(String::new());
        let stderr = BufReader::new(child.stderr.take().expect("its log"));
        let reader = thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                written.send_modify(|log| log.extend([&line, "\n"]));
            }
        });
        let mut ready_line = String::new();
        BufReader::new(child.stdout.take().expect("its output"))
            .read_line(&mut ready_line)
            .expect("a line");
        let address = ready_line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once(' '))
            .map(|(address, _)| address.to_owned());
        Self {
            address: address.unwrap_or_else(|| panic!("it did not start: {}", *log.borrow())),
            child,
            log,
            reader: Some(reader),
            client: Client::new(),
            ready_line,
            _folder: folder,
        }
    }

    /// What it has logged so far.
    pub(crate) fn logged(&self) -> String {
        self.log.borrow().clone()
    }

    /// A booking under this key, always the same one.
    pub(crate) fn booking(&self, key: &str) -> RequestBuilder {
        let booking = json!({
            "service_id": format!("s1{UNSEEN}"), "customer_name": "Ann", "date": "2026-12-01", "time": "10:00",
        });
        self.client
            .post(format!("http://{}/bookings", self.address))
            .header("Idempotency-Key", format!("{key}{UNSEEN}"))
            .json(&booking)
    }

    /// A request to this path.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// How many bookings there are.
    pub(crate) async fn bookings(&self) -> usize {
        let url = format!("http://{}/bookings", self.address);
        let answer = Reply::to(self.client.get(url)).await;
        let bookings: Vec<Value> = serde_json::from_slice(&answer.body).expect("JSON");
        bookings.len()
    }

    /// Waits until the log has this text.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        let mut log = self.log.clone();
        let found = log.wait_for(|log| log.contains(text));
        let found = within_a_minute(text, found).await.is_ok();
        assert!(found, "the service ended without {text:?}");
    }

    /// What it ends with, and all that it has logged.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let mut log = self.log.clone();
        let closed = async { while log.changed().await.is_ok() {} };
        within_a_minute("the end of the service", closed).await;
        let status = self.child.wait().expect("an exit status");
        (status, self.logged())
    }

    /// Sends this signal to it.
    pub(crate) fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.expect("a shell runs").success());
    }
}

impl Drop for Service {
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
        let log = self.log.borrow();
        assert!(!log.contains(UNSEEN), "{}", *log);
    }
}

/// In every key and every body that is sent, and in no log.
pub(crate) const UNSEEN: &str = "-that-nobody-may-see";
