//! `core-api` as a process of its own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tests::servers::skip;

/// A process, killed when this is dropped.
pub(crate) struct Service {
    child: Child,
    url: String,
    client: Client,
}

/// An answer, read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) is_replayed: bool,
    pub(crate) body: String,
}

impl Service {
    /// Starts one whose keys are there and whose bookings are in its own memory, with these environment variables in
    /// addition.
    pub(crate) fn start(idempotency_store: &str, variables: &[(&str, &str)]) -> Self {
        Self::start_on("memory:", idempotency_store, variables)
    }

    /// Starts one whose bookings are in this database.
    pub(crate) fn start_on(
        database: &str,
        idempotency_store: &str,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"))
            .args(["--listen", "127.0.0.1:0", "--database", database])
            .args(["--idempotency-store", idempotency_store])
            .arg("--fault-injection")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the service");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("its output");
        let read = BufReader::new(stdout).read_line(&mut ready);
        read.expect("a line that says where it is");
        let (_, rest) = ready.split_once("listens on ").expect("its address");
        let (url, _) = rest.split_once(' ').expect("more behind it");
        Self {
            child,
            url: url.to_owned(),
            client: Client::new(),
        }
    }

    /// Starts one whose clock is a day ahead of everybody else's; none where that cannot be had.
    pub(crate) async fn start_a_day_ahead(
        idempotency_store: &str,
        variables: &[(&str, &str)],
    ) -> Option<Self> {
        // The loader knows where this system has its libraries, and goes on without one that is missing.
        let faketime = [
            ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1"),
            ("FAKETIME", "+1d"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let service = Self::start(idempotency_store, &[&faketime, variables].concat());
        let answer = service
            .client
            .get(format!("{}/healthz", service.url))
            .send();
        let date = answer.await.expect("an answer").headers()["date"].clone();
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

    /// A booking under this key, the same one each time.
    pub(crate) fn book(&self, key: &str) -> RequestBuilder {
        let booking = json!({
            "service_id": "s1", "customer_name": "Ann", "date": "2026-12-01", "time": "10:00"
        });
        self.client
            .post(format!("{}/bookings", self.url))
            .header("Idempotency-Key", key)
            .json(&booking)
    }

    /// A request to this path.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// How many bookings it has.
    pub(crate) async fn bookings(&self) -> usize {
        let bookings = self.client.get(format!("{}/bookings", self.url)).send();
        let bookings = bookings.await.expect("an answer").json::<Vec<Value>>();
        bookings.await.expect("the bookings").len()
    }

    /// Lets it do nothing until [`resume`](Self::resume).
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(kill.expect("kill").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends the request and reads the answer.
pub(crate) async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    Answer {
        status: response.status(),
        is_replayed: response.headers().contains_key("idempotent-replayed"),
        body: response.text().await.expect("its body"),
    }
}
