//! A running `core-api` and a client for it.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
};

use reqwest::{Client, Method, RequestBuilder, StatusCode, header::HeaderMap};
use rustls::crypto::ring;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The program, killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// What it has written to standard error so far; the sender is gone once there is no more.
    log: watch::Receiver<String>,
    reader: Option<JoinHandle<()>>,
    client: Client,
    http2: Client,
    pub(crate) ready_line: String,
    pub(crate) address: SocketAddr,
}

/// One response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
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

    /// Starts it with this in place of a standard error that the test reads.
    pub(crate) fn start_logging_to(directory: &Path, arguments: &[&str], log: Stdio) -> Self {
        let mut command = command(directory);
        command.args(arguments);
        Self::spawn(command, log)
    }

    fn spawn(mut command: Command, stderr: Stdio) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        // It has the other end of a pipe that it logs to, which would never end.
        drop(command);
        let (written, log) = watch::channel(String::new());
        let stderr = child.stderr.take();
        let reader = thread::spawn(move || {
            let stderr = stderr.into_iter().map(BufReader::new);
            for line in stderr.flat_map(BufRead::lines) {
                let line = line.unwrap();
                written.send_modify(|log| log.extend([&line, "\n"]));
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready_line = String::new();
        stdout.read_line(&mut ready_line).unwrap();
        assert!(!ready_line.is_empty(), "{}", *log.borrow());
        let address = ready_line
            .split_once("http://")
            .and_then(|(_, rest)| rest.split_once(' '))
            .map(|(address, _)| address.parse().unwrap())
            .unwrap();
        // Firestore's client has turned on a TLS of reqwest that chooses none. It fails where another test has installed it.
        drop(ring::default_provider().install_default());
        Self {
            child,
            stdout,
            log,
            reader: Some(reader),
            client: Client::new(),
            http2: Client::builder().http2_prior_knowledge().build().unwrap(),
            ready_line,
            address,
        }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// The same request by HTTP/2, where the server knows of a client that has left.
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
    pub(crate) async fn book(&self, key: &str, name: &str) -> Answer {
        send(self.write("POST", "/bookings", key, &booking(name))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.request("GET", path)).await
    }

    /// Every booking, newest first.
    pub(crate) async fn bookings(&self) -> Vec<Value> {
        let answer = self.get("/bookings?limit=1000").await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Waits until the log has this text.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        let mut log = self.log.clone();
        let found = log.wait_for(|log| log.contains(text)).await.is_ok();
        assert!(found, "the program ended without {text:?}");
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// How much memory the program has, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        1024 * kilobytes.unwrap().parse::<u64>().unwrap()
    }

    /// Kills the program as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the program's end, and returns it with the rest of its standard output and all of its log.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String, String) {
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status, rest, self.log.borrow().clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            return;
        }
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        assert_hidden(&self.log.borrow());
    }
}

/// In every key and every body that is sent, and in every password.
pub(crate) const UNSEEN: &str = "-that-nobody-may-see";

/// That nothing of a key, a body or a password is in the log.
#[track_caller]
pub(crate) fn assert_hidden(log: &str) {
    assert!(!log.contains("nobody"), "{log}");
}

impl Answer {
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

pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().into(),
    }
}

/// A valid booking.
pub(crate) fn booking(name: &str) -> Value {
    json!({"service_id": format!("s1{UNSEEN}"), "customer_name": name, "date": "2026-12-01", "time": "10:00"})
}

/// The program in a directory, with nothing of this process's environment that it would read.
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
