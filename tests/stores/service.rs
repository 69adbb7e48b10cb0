//! `core-api` as a process of its own, and a client for it.

use std::{
    ops::Deref,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, SystemTime},
};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    core_api::{Process, UNSEEN},
    reply::Reply,
    servers::{postgres::PostgresServer, redis::RedisServer, skip},
};

use crate::within_a_minute;

/// The program in a folder of its own, and a client of it.
pub(crate) struct Service {
    process: Process,
    client: Client,
    _folder: TempDir,
}

impl Deref for Service {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Service {
    /// Starts it with these options, and returns once it is ready.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::start_with(options, &[])
    }

    /// Starts a service whose clock is a day ahead; `None` where that is not possible.
    pub(crate) async fn start_a_day_ahead(
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Option<Self> {
        // The loader searches this system's library folders, and continues without a library that is missing.
        let faketime = [
            ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1"),
            ("FAKETIME", "+1d"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        let service = Self::start_with(options, &[&faketime, variables].concat());
        let health = format!("http://{}/healthz", service.address);
        let response = service.client.get(health).send().await;
        let date = response.expect("a response").headers()["date"].clone();
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"));
        command
            .current_dir(folder.path())
            .arg("--fault-injection")
            .args(options)
            .envs(variables.iter().copied());
        Self {
            process: Process::start(command, Stdio::piped()),
            client: Client::new(),
            _folder: folder,
        }
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
        let response = Reply::to(self.client.get(url)).await;
        let bookings: Vec<Value> = serde_json::from_slice(&response.body).expect("JSON");
        bookings.len()
    }

    /// Waits until the log has this text.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        within_a_minute(text, self.process.wait_for_log(text)).await;
    }

    /// Its exit status, and all that it has logged.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        within_a_minute("the end of the service", self.log_ended()).await;
        let (status, _, log) = self.process.wait();
        (status, log)
    }
}

/// Options with the keys on this server, for each kind of server that is installed.
pub(crate) async fn places() -> Vec<(Vec<String>, Box<dyn Send>)> {
    let mut places: Vec<(Vec<String>, Box<dyn Send>)> = Vec::new();
    if let Some(server) = RedisServer::start(&[]) {
        let options = ["--database", "memory:", "--idempotency-store"].map(str::to_owned);
        let options = options.into_iter().chain([server.url()]).collect();
        places.push((options, Box::new(server)));
    }
    if let Some(server) = PostgresServer::shared() {
        let url = server.url(&server.database().await);
        places.push((vec!["--database".to_owned(), url], Box::new(())));
    }
    places
}
