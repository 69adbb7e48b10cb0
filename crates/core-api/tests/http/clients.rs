//! Real clients: how each handles a refusal while it is still sending, and a page in a browser.

use std::{
    env,
    ffi::OsStr,
    io::{Write, stderr},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use axum::{
    Router,
    response::Html,
    routing::{get, post},
};
use tempfile::tempdir;
use tokio::{net::TcpListener, sync::mpsc, task::spawn_blocking, time::timeout};

use crate::server::{Server, UNSEEN, booking};

const ROUNDS: usize = 5;

/// Path, key and media type of five megabytes, and the response. The library refuses the first two; axum and the service refuse
/// the others.
const REFUSED: [(&str, &str); 5] = [
    (
        "/bookings a,b application/json",
        "400 idempotency_key_malformed",
    ),
    ("/bookings k application/json", "413 content_too_large"),
    ("/bookings  application/json", "413 content_too_large"),
    ("/bookings  text/plain", "415 unsupported_media_type"),
    ("/nowhere k application/json", "404 route_not_found"),
];

/// Whether the program is installed; else how to get it. A test without it prints that it is skipped, and fails in CI.
pub(crate) fn is_installed(program: impl AsRef<OsStr>, how: &str) -> bool {
    let program = program.as_ref();
    let asked = Command::new(program).arg("--version").output();
    let is_installed = asked.is_ok_and(|asked| asked.status.success());
    if !is_installed {
        let why = format!("there is no {program:?} ({how})");
        assert!(env::var_os("CI").is_none(), "{why}");
        let message = format!("\n*** SKIPPED: a test of a client that exists: {why}\n");
        drop(stderr().write_all(message.as_bytes()));
    }
    is_installed
}

fn path(client: &str) -> String {
    format!("{}/tests/http/clients/{client}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) async fn output(mut command: Command) -> Output {
    let output = spawn_blocking(move || command.output().unwrap());
    output.await.unwrap()
}

/// Runs a client that posts five megabytes in every way, and asserts that it has read each response.
async fn reads_every_refusal(program: &str, client: &str) {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let mut command = Command::new(program);
    command.arg(path(client));
    command.args([format!("http://{}", server.address), ROUNDS.to_string()]);
    command.args(REFUSED.map(|(case, _)| case));
    let output = output(command).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    let expected = REFUSED.map(|(_, response)| response).repeat(ROUNDS);
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{output:?}");
}

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn node_reads_a_refusal_of_five_megabytes() {
    if is_installed("node", "Debian: apt-get install nodejs") {
        reads_every_refusal("node", "post_large.mjs").await;
    }
}

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn python_reads_a_refusal_of_five_megabytes() {
    if is_installed("python3", "Debian: apt-get install python3") {
        reads_every_refusal("python3", "post_large.py").await;
    }
}

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn the_jdk_reads_a_refusal_of_five_megabytes() {
    if is_installed("java", "Debian: apt-get install default-jdk-headless") {
        reads_every_refusal("java", "PostLarge.java").await;
    }
}

// proves: bad-key-gets-no-continue, refusal-reaches-sending-client
#[tokio::test]
async fn curl_reads_a_refusal_and_sends_no_body_that_it_has_only_announced() {
    if !is_installed("curl", "Debian: apt-get install curl") {
        return;
    }
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    std::fs::write(directory.path().join("body"), "x".repeat(5_000_000)).unwrap();
    for (expect, is_sent) in [("Expect:", true), ("Expect: 100-continue", false)] {
        for (case, response) in REFUSED {
            let [path, key, media_type] = case.split(' ').collect::<Vec<_>>()[..] else {
                panic!("three parts: {case}");
            };
            let mut command = Command::new("curl");
            command.current_dir(directory.path());
            command.args(["--silent", "--show-error", "--data-binary", "@body"]);
            command.args(["--write-out", "\n%{http_code} %{size_upload}"]);
            command.args(["--header", expect]);
            command.args(["--header", &format!("Content-Type: {media_type}")]);
            if !key.is_empty() {
                command.args(["--header", &format!("Idempotency-Key: {key}")]);
            }
            command.arg(format!("http://{}{path}", server.address));
            let output = output(command).await;
            let printed = String::from_utf8_lossy(&output.stdout);
            let (status, code) = response.split_once(' ').unwrap();
            assert!(output.status.success(), "{output:?}");
            assert!(
                printed.contains(&format!("\"code\":\"{code}\"")),
                "{output:?}"
            );
            let (_, sent) = printed.rsplit_once('\n').unwrap();
            let sent = sent.strip_prefix(&format!("{status} ")).unwrap();
            if !is_sent {
                assert_eq!(sent, "0", "{output:?}");
            }
        }
    }
}

// proves: run-survives-client-leaving
#[tokio::test]
async fn python_gets_its_response_after_it_has_closed_its_sending_side() {
    if !is_installed("python3", "Debian: apt-get install python3") {
        return;
    }
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    let body = booking("Ann").to_string();
    let request = format!(
        "POST /bookings HTTP/1.1\r\nHost: h\r\nIdempotency-Key: k\r\nX-Fault-Delay-Ms: 500\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    let address = server.address.to_string();
    let output = spawn_blocking(move || {
        let mut client = Command::new("python3")
            .args([path("half_close.py"), address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = client.stdin.take().unwrap();
        stdin.write_all(request.as_bytes()).unwrap();
        drop(stdin);
        client.wait_with_output().unwrap()
    });
    let printed = String::from_utf8(output.await.unwrap().stdout).unwrap();
    assert!(printed.starts_with("HTTP/1.1 201 Created"), "{printed}");
    assert!(printed.ends_with('}'), "{printed}");
}

/// Chromium, killed when this is dropped.
pub(crate) struct Chromium(pub(crate) Child);

impl Drop for Chromium {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Chromium {
    fn open(profile: &Path, url: &str) -> Self {
        let mut command = Self::command(profile);
        command.arg(url).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Chromium with this folder for what it keeps.
    pub(crate) fn command(profile: &Path) -> Command {
        let mut command = Command::new("chromium");
        command
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-quic",
                "--disable-sync",
                "--disable-component-update",
            ])
            .args(["--disable-background-networking", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", profile.display()));
        command
    }
}

/// A site whose page posts back the responses that it received.
async fn site() -> (SocketAddr, mpsc::Receiver<String>) {
    let (told, lines) = mpsc::channel(1);
    let page = get(async || Html(include_str!("clients/page.html")));
    let collect = post(async move |lines: String| told.send(lines).await.unwrap());
    let app = Router::new().route("/", page).route("/lines", collect);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, lines)
}

// proves: preflight-never-refused, cors-works-with-protection, refusal-reaches-sending-client
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_books_in_chromium_and_reads_what_it_has_to() {
    if !is_installed("chromium", "Debian: apt-get install chromium") {
        return;
    }
    let directory = tempdir().unwrap();
    let (site, mut lines) = site().await;
    let origin = format!("http://{site}");
    let arguments = ["--database", "memory:", "--cors-origin", &origin];
    let allowing = Server::start(directory.path(), &arguments);
    let arguments = [
        "--database",
        "memory:",
        "--cors-origin",
        "https://shop.example",
    ];
    let other = Server::start(directory.path(), &arguments);
    let mut url = reqwest::Url::parse(&origin).unwrap();
    url.query_pairs_mut()
        .append_pair("allowed", &format!("http://{}", allowing.address))
        .append_pair("other", &format!("http://{}", other.address))
        .append_pair("key", &format!("k{UNSEEN}"))
        .append_pair("ann", &booking("Ann").to_string());
    let _chromium = Chromium::open(&directory.path().join("profile"), url.as_str());
    let lines = timeout(Duration::from_secs(120), lines.recv()).await;
    let lines = lines.expect("the page posts its lines").unwrap();
    // Status, code, and those of Idempotent-Replayed, Location, Idempotency-Expires and Retry-After that the page can read.
    let expected = [
        "201 undefined null true true null",
        "201 undefined true true true null",
        "422 idempotency_key_reused null false false null",
        "400 idempotency_key_malformed null false false null",
        "413 content_too_large null false false null",
        "404 route_not_found null false false null",
        "TypeError",
    ];
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    assert_eq!(allowing.bookings().await.len(), 1);
    assert_eq!(other.bookings().await.len(), 0);
}
