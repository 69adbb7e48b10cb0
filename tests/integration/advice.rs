//! The loop that the guide for clients advises, as Node runs it.

use std::{fs, process::Command};

use tests::servers::skip;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::mpsc,
    task::spawn_blocking,
};

const GUIDE: &str = include_str!("../../crates/idempotency/src/docs/clients.md");

/// Breaks the connection in place of a response.
const SILENCE: &str = "";

const CREATED: &str = "201 Created";
const BUSY: &str = "503 Service Unavailable";
const RUNNING: &str = "409 Conflict\r\nretry-after: 5";
const REUSED: &str = "422 Unprocessable Content";

/// The loop, without the text around it.
fn guide_loop() -> &'static str {
    let (_, from_loop) = GUIDE.split_once("```js\n").expect("a loop in the guide");
    from_loop.split_once("```").expect("its end").0
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    key: String,
    body: String,
}

/// A service that responds to each request with the next of these, and the requests.
async fn service(script: Vec<&'static str>) -> (String, mpsc::UnboundedReceiver<Sent>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for head in script {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut stream = BufReader::new(stream);
            let (mut key, mut length) = (None, 0);
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("a line");
                match line.trim_end().split_once(": ") {
                    Some((name, value)) if name.eq_ignore_ascii_case("idempotency-key") => {
                        key = Some(value.to_owned());
                    }
                    Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                        length = value.parse().expect("a length");
                    }
                    None if line.trim_end().is_empty() => break,
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.expect("a body");
            let sent = Sent {
                key: key.expect("a key"),
                body: String::from_utf8(body).expect("a text"),
            };
            tell.send(sent).expect("the test waits");
            if head != SILENCE {
                let response =
                    format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream
                    .write_all(response.as_bytes())
                    .await
                    .expect("the client reads");
            }
        }
    });
    (url, told)
}

/// The last status of each operation, and the pauses before it.
async fn run(url: String, bodies: &[&'static str]) -> Vec<(String, Vec<f64>)> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("loop.js");
    fs::write(&file, guide_loop()).expect("a file");
    let mut node = Command::new("node");
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/integration/node/guide_loop.mjs"
    );
    node.arg(program).arg(file).arg(url).args(bodies);
    let output = spawn_blocking(move || node.output()).await;
    let output = output.expect("no panic").expect("Node runs");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("a text");
    let operation = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let status = words.next().expect("a status");
        let pauses = words.map(|pause| pause.parse().expect("a number"));
        (status, pauses.collect())
    };
    printed.lines().map(operation).collect()
}

fn has_node() -> bool {
    let found = Command::new("node").arg("--version").output();
    let is_there = found.is_ok_and(|found| found.status.success());
    if !is_there {
        skip("the guide's loop", "there is no `node`", false);
    }
    is_there
}

// proves: retry-advice-published
#[tokio::test]
async fn the_guides_loop_repeats_one_request_until_it_is_done_and_takes_a_new_key_for_the_next() {
    if !has_node() {
        return;
    }
    let script = vec![SILENCE, BUSY, RUNNING, CREATED, REUSED, CREATED];
    let (url, mut told) = service(script).await;
    let done = run(url, &["one", "two", "three"]).await;
    let mut sent = Vec::new();
    while let Some(next) = told.recv().await {
        sent.push(next);
    }
    let (attempts, others) = sent.split_at(4);
    assert!(attempts.iter().all(|attempt| *attempt == attempts[0]));
    assert_eq!(attempts[0].body, "one");
    // What is refused for good, or done, is not sent again. Each operation has a key of its own.
    let bodies: Vec<_> = others.iter().map(|other| other.body.as_str()).collect();
    assert_eq!(bodies, ["two", "three"]);
    assert_ne!(others[0].key, attempts[0].key);
    assert_ne!(others[1].key, others[0].key);

    let statuses: Vec<_> = done.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["201", "422", "201"]);
    let pauses = &done[0].1;
    assert_eq!(pauses.len(), 3, "{pauses:?}");
    assert!(pauses[2] >= 5000.0, "as the service says: {pauses:?}");
}

// proves: retry-advice-published
#[tokio::test]
async fn the_guides_loop_pauses_longer_each_time_with_jitter_and_gives_up() {
    if !has_node() {
        return;
    }
    let (url, _told) = service(vec![BUSY; 16]).await;
    let done = run(url, &["one", "two"]).await;
    let mut pauses = Vec::new();
    for (status, paused) in &done {
        assert_eq!(status, "503");
        assert_eq!(paused.len(), 7, "{paused:?}");
        let ends = (0..7).map(|attempt| f64::from(500 << attempt).min(30_000.0));
        for (pause, end) in paused.iter().zip(ends) {
            assert!((0.5 * end..1.5 * end).contains(pause), "{paused:?}");
        }
        pauses.push(paused);
    }
    assert_ne!(pauses[0], pauses[1], "two clients pause alike");
}
