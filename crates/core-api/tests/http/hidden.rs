//! No key, no token, no payload and no response is in what the program says, whatever happens to a request and whichever command
//! runs.

use std::{fs, process::Output};

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{
    keys::{LEASES, STORE, expire_leases, run, text},
    server::{Server, UNSEEN, booking, send},
    tokens::{Tokens, get},
};

/// Everything that may not be seen, from what was sent and received.
struct Hidden(Vec<String>);

impl Hidden {
    #[track_caller]
    fn assert_not_in(&self, said: &str, where_it_is: &str) {
        for text in &self.0 {
            assert!(!said.contains(text), "{where_it_is}: {text}: {said}");
        }
    }

    #[track_caller]
    fn assert_not_said(&self, output: &Output, words: &[&str]) {
        let said = text(&output.stdout) + &text(&output.stderr);
        self.assert_not_in(&said, &words.join(" "));
    }
}

/// A booking whose every text can be found again.
fn marked() -> Value {
    let name = format!("Ann{UNSEEN}");
    booking(&name)
}

fn with(request: RequestBuilder, token: &str, fault: (&str, &str)) -> RequestBuilder {
    request.bearer_auth(token).header(fault.0, fault.1)
}

/// Every kind of request to bookings: the status of each.
async fn request_everything(server: &Server, token: &str) -> Vec<String> {
    const NONE: (&str, &str) = ("X-None", "1");
    let mut made = Vec::new();
    for (key, name, fault, status) in [
        ("k", "Ann", ("X-Fault-Status", "503"), 503),
        ("k", "Ann", ("X-Fault-Panic", "1"), 500),
        ("k", "Ann", NONE, 201),
        ("k", "Ann", NONE, 201),
        ("k", "Bob", NONE, 422),
        ("invalid", "", NONE, 422),
        ("with, comma", "Ann", NONE, 400),
    ] {
        let mut body = marked();
        if name != "Ann" {
            body["customer_name"] = json!(name);
        }
        let request = server.write("POST", "/bookings", key, &body);
        let reply = send(with(request, token, fault)).await;
        assert_eq!(reply.status, status, "{key} {name}");
        if status == 201 {
            made.push(reply.json()["created_at"].as_str().unwrap().to_owned());
            let path = reply.header("location").unwrap().to_owned();
            let asked = server.request("GET", &path).bearer_auth(token);
            assert_eq!(send(asked).await.status, 200);
        }
    }
    let running = server.write("POST", "/bookings", "slow", &marked());
    let running = with(running, token, ("X-Fault-Delay-Ms", "600000")).send();
    let running = tokio::spawn(running);
    server.wait_for_log("injected a delay").await;
    let duplicate = server.write("POST", "/bookings", "slow", &marked());
    assert_eq!(send(with(duplicate, token, NONE)).await.status, 409);
    running.abort();
    let by_key = server.request("GET", "/bookings/by-key");
    let by_key = by_key.header("Idempotency-Key", format!("k{UNSEEN}"));
    assert_eq!(send(with(by_key, token, NONE)).await.status, 200);
    let no_token = server.write("POST", "/bookings", "k", &marked());
    assert_eq!(send(no_token).await.status, 401);
    let bad_token = server.write("POST", "/bookings", "k", &marked());
    let bad_token = bad_token.bearer_auth(format!("x{UNSEEN}"));
    assert_eq!(send(bad_token).await.status, 401);
    // What is sent in a wrong place.
    let query = get(server, token, &format!("/bookings?limit=k{UNSEEN}")).await;
    assert_eq!(query.status, 400);
    made
}

// proves: keys-and-bodies-never-logged
#[tokio::test]
async fn nothing_that_the_program_says_has_a_key_a_token_a_payload_or_a_response() {
    for format in ["json", "pretty"] {
        let tokens = Tokens::new();
        let (ann, root) = (
            tokens.add(&["ann"]),
            tokens.add(&["root", "--role", "operator"]),
        );
        let path = tokens.directory.path();
        let format = ["--log-format", format];
        let mut server = tokens.start(&[&LEASES[..], &format].concat());
        let made = request_everything(&server, &ann).await;
        let secret = fs::read_to_string(path.join("keys.db.secret")).unwrap();
        let mut hidden = Hidden(made);
        hidden.0.extend([
            UNSEEN.to_owned(),
            ann.clone(),
            root.clone(),
            secret.trim_end().to_owned(),
        ]);

        let listed = get(&server, &root, "/admin/keys").await;
        hidden.assert_not_in(&text(&listed.body), "/admin/keys");
        let all = listed.json();
        assert_eq!(all.as_array().unwrap().len(), 2);
        for key in all.as_array().unwrap() {
            let id = key["id"].as_str().unwrap();
            let shown = get(&server, &root, &format!("/admin/keys/{id}")).await;
            assert_eq!(shown.status, 200);
            hidden.assert_not_in(&text(&shown.body), id);
            let read = get(&server, &root, &format!("/admin/keys/{id}?body=true")).await;
            assert_eq!(read.status, 200);
            for verb in ["release", "erase"] {
                let change = server.request("POST", &format!("/admin/keys/{id}/{verb}"));
                let change = change.header("If-Match", format!("\"{UNSEEN}\""));
                assert_eq!(send(change.bearer_auth(&root)).await.status, 412);
            }
        }
        let wrong = get(&server, &root, &format!("/admin/keys?label=k{UNSEEN}&x=1")).await;
        assert_eq!(wrong.status, 400);
        let metrics = get(&server, &root, "/metrics").await;
        assert!(text(&metrics.body).contains("idempotency_requests_total"));
        hidden.assert_not_in(&text(&metrics.body), "/metrics");
        server.signal("KILL");
        let (_, said, log) = server.wait();
        // The access log names the subject of a request, and nothing else of its caller.
        hidden.assert_not_in(&(said + &log), "the service");

        expire_leases(path);
        let key = format!("k{UNSEEN}");
        for words in [
            &["list"][..],
            &["list", "--json"],
            &["list", "--of-subject", "ann"],
            &["show", "--subject", "ann", "--key", &key],
            &["show", "--subject", "ann", "--key", &key, "--json"],
            &["show", "--subject", "bob", "--key", &key],
            &["show", "--subject", "ann", "--key-stdin"],
            &["show", &key],
            &["release", &key],
            &["release", "--stuck"],
            &["resolve", &key, "--status", "200"],
            &["release", "--stuck", "--yes"],
            &["erase", "--of-subject", "ann", "--yes", "--json"],
            &["tail"],
            &["purge"],
        ] {
            let output = run(
                path,
                &[words, &STORE, &format].concat(),
                &format!("{key}\n"),
            );
            hidden.assert_not_said(&output, words);
        }
    }
}
