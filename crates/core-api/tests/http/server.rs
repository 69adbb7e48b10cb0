//! A running `core-api` and a client for it.

use std::{
    ops::{Deref, DerefMut},
    path::Path,
    process::{Command, Stdio},
};

use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use rustls::crypto::ring;
use serde_json::{Value, json};

use crate::process::Process;
pub(crate) use crate::process::{UNSEEN, assert_hidden};

/// The program, and clients of it.
pub(crate) struct Server {
    process: Process,
    client: Client,
    http2: Client,
}

/// One response, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Server {
    /// Starts the program in a directory, with these arguments and a free port.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(directory, arguments, &[])
    }

    /// Starts it with these environment variables too.
    pub(crate) fn start_with(
        directory: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = command(directory);
        command.args(arguments).envs(variables.iter().copied());
        Self::spawn(command, Stdio::piped())
    }

    /// Starts it in a process group of its own, as a terminal does.
    #[cfg(unix)]
    pub(crate) fn start_in_group(directory: &Path, arguments: &[&str]) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = command(directory);
        command.args(arguments).process_group(0);
        Self::spawn(command, Stdio::piped())
    }

    /// Starts it with this as its standard error, which the test does not read.
    pub(crate) fn start_logging_to(directory: &Path, arguments: &[&str], log: Stdio) -> Self {
        let mut command = command(directory);
        command.args(arguments);
        Self::spawn(command, log)
    }

    fn spawn(command: Command, stderr: Stdio) -> Self {
        // Firestore's client enables reqwest's TLS without a provider. The call fails if another test has installed one.
        drop(ring::default_provider().install_default());
        Self {
            process: Process::start(command, stderr),
            client: Client::new(),
            http2: Client::builder().http2_prior_knowledge().build().unwrap(),
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// The same request by HTTP/2, where the server notices that a client has left.
    pub(crate) fn by_http2(&self, request: RequestBuilder) -> RequestBuilder {
        RequestBuilder::from_parts(self.http2.clone(), request.build().unwrap())
    }

    /// A request with a key and a JSON body.
    pub(crate) fn write(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: &Value,
    ) -> RequestBuilder {
        let key = match key {
            "" => String::new(),
            key => format!("{key}{UNSEEN}"),
        };
        self.request(method, path)
            .header("Idempotency-Key", key)
            .json(body)
    }

    /// Books for a customer of this name.
    pub(crate) async fn book(&self, key: &str, name: &str) -> Reply {
        send(self.write("POST", "/bookings", key, &booking(name))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        send(self.request("GET", path)).await
    }

    /// Every booking, newest first.
    pub(crate) async fn bookings(&self) -> Vec<Value> {
        let reply = self.get("/bookings?limit=1000").await;
        serde_json::from_slice(&reply.body).unwrap()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.signal("HUP");
    }

    /// Sends SIGINT to the program's process group, as a terminal does at Ctrl-C.
    pub(crate) fn interrupt_group(&self) {
        let kill = format!("kill -s INT -- -{}", self.id());
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.unwrap().success());
    }

    /// Sends this signal to the process that serves, which the supervisor has started last.
    pub(crate) fn signal_child(&self, signal: &str) {
        let log = self.logged();
        let line = log
            .lines()
            .rfind(|line| line.contains("under a supervisor"));
        let line: Value = serde_json::from_str(line.unwrap()).unwrap();
        let kill = format!("kill -{signal} {}", line["process"]);
        let sent = Command::new("sh").args(["-c", &kill]).status();
        assert!(sent.unwrap().success());
    }

    /// The error of a request that gets no response.
    pub(crate) async fn get_error(&self, path: &str) -> reqwest::Error {
        self.request("GET", path).send().await.unwrap_err()
    }

    /// How much memory the program uses, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        1024 * kilobytes.unwrap().parse::<u64>().unwrap()
    }

    /// Kills the program as `kill -9` does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }

    /// Asserts that this is a problem of this status, and returns its document.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let document = self.json();
        assert_eq!(document["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(
                document[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{document}"
            );
        }
        document
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Reply {
    let response = request.send().await.unwrap();
    Reply {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().into(),
    }
}

/// A valid booking.
pub(crate) fn booking(name: &str) -> Value {
    json!({"service_id": format!("s1{UNSEEN}"), "customer_name": name, "date": "2026-12-01", "time": "10:00"})
}

/// The program in a directory, without the environment variables of this process that it would read.
pub(crate) fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-api"));
    command.current_dir(directory);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CORE_API_") {
            command.env_remove(name);
        }
    }
    command
}
