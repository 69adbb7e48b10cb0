//! `core-api keys --service`: the keys of a service that runs, whose store no command can open.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::tempdir;

use crate::{
    keys::{LEASES, assert_undone, done, expire_leases, killed_while_booking, run, text},
    server::{Server, UNSEEN, booking, command, send},
    tokens::{Tokens, book},
};

/// A service, its tokens, and the command of an operator for it.
pub(crate) struct Operated {
    pub(crate) tokens: Tokens,
    pub(crate) server: Server,
    service: String,
}

/// Where no command can open the store while the service runs.
const PLACES: [&[&str]; 3] = [
    &[],
    &["--database", "memory:"],
    &["--idempotency-store", "sqlite:keys.db"],
];

impl Operated {
    pub(crate) fn start(tokens: Tokens, options: &[&str]) -> Self {
        let operator = tokens.add(&["root", "--role", "operator"]);
        // An editor leaves a line break at the end.
        fs::write(tokens.directory.path().join("operator"), operator + "\n").unwrap();
        let server = tokens.start(options);
        let service = format!("http://{}", server.address);
        Self {
            tokens,
            server,
            service,
        }
    }

    /// With two keys of Ann and one of Bob, and their tokens.
    pub(crate) async fn with_three_keys(place: &[&str]) -> (Self, [String; 2]) {
        let tokens = Tokens::new();
        let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
        let operated = Self::start(tokens, place);
        for (token, key) in [(&ann, "k"), (&ann, "l"), (&bob, "k")] {
            assert_eq!(book(&operated.server, token, key).await.status, 201);
        }
        (operated, [ann, bob])
    }

    fn options(&self) -> [&str; 4] {
        ["--service", &self.service, "--token-file", "operator"]
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let arguments = [arguments, &self.options()].concat();
        run(self.tokens.directory.path(), &arguments, input)
    }

    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let arguments = [arguments, &self.options()].concat();
        done(self.tokens.directory.path(), &arguments)
    }

    #[track_caller]
    fn listed(&self, arguments: &[&str]) -> Vec<Value> {
        let lines = self.done(&[&["list", "--json"], arguments].concat());
        let lines = lines.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().unwrap()
    }
}

// proves: key-state-shown, keys-and-bodies-never-logged
#[tokio::test]
async fn keys_of_a_running_service_are_listed_and_shown() {
    for place in PLACES {
        let (operated, _) = Operated::with_three_keys(place).await;
        assert_eq!(operated.listed(&[]).len(), 3, "{place:?}");
        assert_eq!(operated.listed(&["--limit", "2"]).len(), 2);
        assert_eq!(operated.listed(&["--of-subject", "ann"]).len(), 2);
        assert!(operated.listed(&["--of-subject", "carl"]).is_empty());
        assert!(operated.listed(&["--in-flight"]).is_empty());
        assert!(operated.listed(&["--older-than", "1h"]).is_empty());
        let of_route = ["--completed", "--route", "POST /bookings"];
        assert_eq!(operated.listed(&of_route).len(), 3);
        assert!(operated.done(&["list"]).starts_with("ID "));

        let key = format!("k{UNSEEN}");
        let named = ["show", "--subject", "ann", "--key-stdin", "--json"];
        let shown = operated.run(&named, &format!("{key}\n"));
        assert!(shown.status.success(), "{shown:?}");
        let said = text(&shown.stdout) + &text(&shown.stderr);
        assert!(!said.contains(UNSEEN), "{said}");
        let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!(shown["response"]["status"], 201);
        assert!(shown["response"].get("body").is_none());
        let id = shown["id"].as_str().unwrap();
        let body = operated.done(&["show", &id[..16], "--body"]);
        assert!(
            body.contains(id) && body.contains("\"customer_name\":\"Ann\""),
            "{body}"
        );
        for named in [
            &["show", "--subject", "carl", "--key", "k"][..],
            &["show", "--subject", "ann", "--operator", "--key", &key],
            &["show", "0123456789abcdef"],
        ] {
            assert_undone(&operated.run(named, ""), "not found");
        }
        operated.server.wait_for_log("\"show body\"").await;
        let log = operated.server.logged();
        assert!(log.contains("\"by\":\"subject root\""), "{log}");
        let output = operated.run(&["show", "--key", "k"], "");
        assert_undone(&output, "give --subject");
    }
}

// proves: lost-key-resolved-as-seen
#[tokio::test]
async fn lost_runs_of_a_running_service_are_released_and_resolved() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let path = tokens.directory.path().to_owned();
    let arguments = [&["--tokens", "tokens"], &LEASES[..]].concat();
    killed_while_booking(&path, &arguments, Some(&ann), &["a", "b", "c"]).await;
    let operated = Operated::start(tokens, &LEASES);
    let running = operated.listed(&["--in-flight"]);
    assert_eq!(running.len(), 3);
    let id = |number: usize| running[number]["id"].as_str().unwrap().to_owned();
    assert_undone(&operated.run(&["release", &id(0)], ""), "has not expired");
    assert_undone(&operated.run(&["erase", &id(0)], ""), "has not ended");
    assert_eq!(operated.done(&["release", "--stuck"]), "0 found\n");
    let forced = operated.done(&["release", &id(0)[..20], "--even-if-running"]);
    assert_eq!(forced, format!("{}  done\n", &id(0)[..20]));
    let Operated { tokens, server, .. } = operated;
    server.kill();

    expire_leases(&path);
    let operated = Operated::start(tokens, &LEASES);
    let stuck = operated.listed(&["--stuck"]);
    assert_eq!(stuck.len(), 2);
    // The longest response that can be stored, and in JSON six times as long.
    let body = "\u{1}".repeat(1024 * 1024);
    fs::write(path.join("body"), &body).unwrap();
    let response = [
        "--status",
        "201",
        "--body-file",
        "body",
        "--header",
        "X-A: b",
    ];
    let resolved = id(1);
    let resolve = [&["resolve", &resolved, "--json"], &response[..]].concat();
    assert_eq!(
        operated.done(&resolve),
        format!("{{\"id\":\"{}\",\"result\":\"done\"}}\n", id(1))
    );
    // What the list has shown is not there any more.
    let lines: String = stuck.iter().map(|line| format!("{line}\n")).collect();
    let released = operated.run(&["release", "-"], &lines);
    assert_undone(&released, &format!("{}  done", id(2)));
    assert_undone(&released, &format!("{}  changed meanwhile", id(1)));
    assert_undone(&operated.run(&["release", &id(2)], ""), "not found");
    assert_undone(&operated.run(&["release", &id(1)], ""), "is completed");

    let (mut replayed, mut ran) = (0, 0);
    for key in ["a", "b", "c"] {
        let retry = book(&operated.server, &ann, key).await;
        assert_eq!(retry.status, 201);
        if retry.is_replayed() {
            assert!(retry.body == body.as_bytes());
            assert_eq!(retry.header("x-a"), Some("b"));
            replayed += 1;
        } else {
            ran += 1;
        }
    }
    assert_eq!((replayed, ran), (1, 2));
}

// proves: records-encrypted-and-purgeable, erased-response-never-runs, sweep-removes-only-expired
#[tokio::test]
async fn responses_of_a_running_service_are_erased_and_its_expired_records_purged() {
    for place in PLACES {
        let (operated, [ann, bob]) = Operated::with_three_keys(place).await;
        let of_ann = ["erase", "--of-subject", "ann"];
        assert_eq!(operated.done(&of_ann), "2 found\n", "{place:?}");
        let erased = operated.done(&[&of_ann[..], &["--yes"]].concat());
        assert_eq!(erased.matches("  done\n").count(), 2, "{erased}");
        for key in ["k", "l"] {
            book(&operated.server, &ann, key).await.problem(410);
        }
        assert!(book(&operated.server, &bob, "k").await.is_replayed());
        let nobody = operated.run(&["erase", "--of-subject", "carl"], "");
        assert_undone(&nobody, "or the secret may be");
        assert_eq!(operated.done(&["purge"]), "0 removed\n");
        operated.server.wait_for_log("\"purge\"").await;
    }
}

// proves: token-not-in-clear-text
#[tokio::test]
async fn a_token_leaves_the_machine_in_clear_text_only_if_that_is_asked_for() {
    let mut operated = Operated::start(Tokens::new(), &[]);
    // It leads to this machine, and its name does not say so.
    operated.service = format!("http://0.0.0.0:{}", operated.server.address.port());
    let refused = operated.run(&["list"], "");
    assert_eq!(refused.status.code(), Some(1));
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(
        why.contains("is not on this machine") && why.contains("--clear-text"),
        "{why}"
    );
    assert!(!operated.server.logged().contains("/admin/keys"));
    let listed = operated.run(&["list", "--clear-text"], "");
    assert!(listed.status.success(), "{listed:?}");
    let warned = String::from_utf8_lossy(&listed.stderr);
    assert!(warned.contains("in clear text"), "{warned}");
}

// proves: key-changes-followed
#[tokio::test]
async fn changes_in_a_running_service_are_followed() {
    for place in PLACES {
        let tokens = Tokens::new();
        let ann = tokens.add(&["ann"]);
        let operated = Operated::start(tokens, place);
        let mut tail = command(operated.tokens.directory.path())
            .args(["keys", "tail", "--json", "--every", "1"])
            .args(operated.options())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(tail.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("following 0 keys"), "{line}");
        assert_eq!(book(&operated.server, &ann, "k").await.status, 201);
        let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
        let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
        let new = next();
        assert_eq!(new["event"], "new");
        // Under a lease a look may meet the run.
        if new["phase"] != "done" {
            assert_eq!(next()["event"], "completed");
        }
        operated.done(&["erase", new["id"].as_str().unwrap()]);
        let erased = next();
        assert_eq!(erased["event"], "erased");
        assert_eq!(erased["id"], new["id"]);
        tail.kill().unwrap();
        tail.wait().unwrap();
    }
}

// proves: bearer-token-required
#[tokio::test]
async fn a_service_that_does_not_let_the_command_in_is_named() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let operated = Operated::start(tokens, &[]);
    let path = operated.tokens.directory.path();
    assert_eq!(book(&operated.server, &ann, "k").await.status, 201);
    let ask = |words: &[&str], token: Option<&str>| {
        let mut command = command(path);
        command.args(["keys"]).args(words);
        if let Some(token) = token {
            command.env("CORE_API_TOKEN", token);
        }
        command.output().unwrap()
    };
    let service = ["list", "--service", &operated.service];
    assert_undone(&ask(&service, None), "--token-file, or in the environment");
    let own = ask(&service, Some(&ann));
    assert!(own.status.success() && text(&own.stdout).contains("POST /bookings"));
    for (words, why) in [
        (&["purge"][..], "403"),
        (&["list", "--of-subject", "ann"], "403"),
        (&["show", "--subject", "ann", "--key", "k"], "403"),
    ] {
        let refused = ask(&[words, &service[1..]].concat(), Some(&ann));
        assert_undone(&refused, why);
    }
    assert_undone(&ask(&service, Some("unknown")), "401");
    let open = tempdir().unwrap();
    let server = Server::start(open.path(), &[]);
    let url = format!("http://{}", server.address);
    let other = ask(&["list", "--service", &url], Some(&ann));
    assert_undone(&other, "it has no --tokens");
    server.kill();
    let nobody = ask(&["list", "--service", &url], Some(&ann));
    assert_undone(&nobody, &format!("--service {url}: "));
    let tls = ask(&["list", "--service", "https://localhost"], Some(&ann));
    assert_eq!(tls.status.code(), Some(2));
    assert!(text(&tls.stderr).contains("ssh -L"), "{tls:?}");
    // What the command sends is in no log of the service, keys included.
    let key = format!("k{UNSEEN}");
    operated.done(&["show", "--subject", "ann", "--key", &key]);
    let unused = operated
        .server
        .write("POST", "/bookings", "m", &booking("Ann"));
    assert_eq!(send(unused.bearer_auth(&ann)).await.status, 201);
}

/// Something that takes one request and responds with this, whatever it was asked.
fn another_program(response: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        while request.read_line(&mut line).unwrap() > 2 {
            line.clear();
        }
        stream.write_all(response).unwrap();
    });
    url
}

// proves: lost-key-resolved-as-seen
#[test]
fn a_change_is_done_only_if_the_service_says_so() {
    let directory = tempdir().unwrap();
    fs::write(directory.path().join("operator"), "a-token").unwrap();
    let page = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK";
    let busy = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    for (response, why) in [
        (&page[..], "failed: it is another program"),
        (busy, "unknown, it may have been made"),
        (b"", "unknown, it may have been made"),
    ] {
        let url = another_program(response);
        let release = [
            "release",
            "-",
            "--service",
            &url,
            "--token-file",
            "operator",
        ];
        let id = "0123456789abcdef".repeat(4);
        let seen = format!("{{\"id\":\"{id}\",\"version\":\"0123456789abcdef\"}}\n");
        assert_undone(&run(directory.path(), &release, &seen), why);
    }
    let limited = ["erase", "0123456789abcdef", "--limit", "1"];
    assert_undone(
        &run(directory.path(), &limited, ""),
        "--limit is for filters",
    );
}
