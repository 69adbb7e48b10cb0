//! Flags and environment variables.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use tempfile::tempdir;

use crate::server::{Server, assert_hidden, command};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    output(command(directory).args(arguments))
}

/// All that it prints until its end, which must not contain a password.
fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert_hidden(&String::from_utf8_lossy(&output.stderr));
    assert_hidden(&String::from_utf8_lossy(&output.stdout));
    output
}

#[test]
fn help_lists_every_option_and_its_variable() {
    let directory = tempdir().unwrap();
    let help = run(directory.path(), &["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    for option in [
        "listen",
        "database",
        "idempotency-store",
        "idempotency-store-limit",
        "tokens",
        "protect-health",
        "protect-docs",
        "cors-origin",
        "secret-file",
        "fault-injection",
        "no-supervisor",
        "log-format",
        "max-connections",
        "max-header-bytes",
        "max-body-bytes",
        "idle-timeout",
        "body-timeout",
        "stop-timeout",
    ] {
        assert!(help.contains(&format!("--{option}")), "{option}: {help}");
        let variable = format!("CORE_API_{}", option.replace('-', "_").to_uppercase());
        assert!(help.contains(&variable), "{variable}: {help}");
    }
    for text in [
        "127.0.0.1:3000",
        "sqlite:core-api.db",
        "sqlite:PATH",
        "postgres://",
        "firestore://PROJECT",
        "memory:",
        "same",
        "one commit",
        "lease",
    ] {
        assert!(help.contains(text), "{text}: {help}");
    }
}

#[test]
fn an_option_that_cannot_be_used_ends_the_start_and_is_named() {
    let directory = tempdir().unwrap();
    let bad = [
        ("--listen", "localhost", "127.0.0.1:3000"),
        (
            "--database",
            "firestore:project",
            "such as firestore://my-project",
        ),
        (
            "--database",
            "bookings.db",
            "sqlite:PATH, postgres://HOST/DATABASE, firestore://PROJECT or memory:",
        ),
        (
            "--idempotency-store",
            "mongodb://localhost",
            "same, sqlite:PATH, postgres://HOST/DATABASE, redis://HOST, firestore://PROJECT or memory:",
        ),
        ("--idempotency-store-limit", "0", "0"),
        ("--cors-origin", "*", "such as https://shop.example"),
        (
            "--cors-origin",
            "https://shop.example,https://shop.example/cart",
            "without a path",
        ),
        ("--log-format", "xml", "pretty, json"),
    ];
    for (option, value, accepted) in bad {
        let by_flag = run(directory.path(), &[option, value]);
        let variable = format!("CORE_API_{}", option[2..].replace('-', "_").to_uppercase());
        let by_variable = output(command(directory.path()).env(variable, value));
        for output in [by_flag, by_variable] {
            assert_eq!(output.status.code(), Some(2));
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(error.contains(option), "{error}");
            assert!(error.contains(accepted), "{error}");
            assert!(output.stdout.is_empty());
        }
    }
    assert_eq!(
        run(directory.path(), &["--token", "file"]).status.code(),
        Some(2)
    );
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

#[test]
fn an_address_in_use_is_named() {
    let directory = tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(directory.path(), &["--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with(&format!("core-api: --listen {address}: ")),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let directory = tempdir().unwrap();
    std::fs::write(
        directory.path().join("letter.txt"),
        "Dear Ann, this is no database. ".repeat(100),
    )
    .unwrap();
    for path in ["missing/bookings.db", "letter.txt", "."] {
        let url = format!("sqlite:{path}");
        let options = [
            vec!["--database", &url],
            vec!["--database", "memory:", "--idempotency-store", &url],
        ];
        for arguments in options {
            let option = arguments[arguments.len() - 2];
            let output = run(
                directory.path(),
                &[&["--listen", "127.0.0.1:0"], &*arguments].concat(),
            );
            assert_eq!(output.status.code(), Some(1));
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(
                error.starts_with(&format!("core-api: {option} {url}: ")),
                "{error}"
            );
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_redis_server_that_cannot_be_used_is_named_without_its_password() {
    let directory = tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let closed = format!("{}/", closed.unwrap());
    for server in [closed.as_str(), "host:port"] {
        let url = format!("redis://:nobody-may-see@{server}");
        let by_flag = run(
            directory.path(),
            &["--listen", "127.0.0.1:0", "--idempotency-store", &url],
        );
        let by_variable = output(
            command(directory.path())
                .args(["--listen", "127.0.0.1:0"])
                .env("CORE_API_IDEMPOTENCY_STORE", &url),
        );
        for output in [by_flag, by_variable] {
            assert_eq!(output.status.code(), Some(1));
            let error = String::from_utf8(output.stderr).unwrap();
            let start = format!("core-api: --idempotency-store redis://{server}: ");
            assert!(!error.contains("nobody-may-see"), "{error}");
            // There is a warning for a host that may not be this machine.
            assert!(
                error.lines().any(|line| line.starts_with(&start)),
                "{error}"
            );
        }
    }
    let help = output(
        command(directory.path())
            .arg("--help")
            .env("CORE_API_IDEMPOTENCY_STORE", "redis://:nobody-may-see@host"),
    );
    assert!(!String::from_utf8_lossy(&help.stdout).contains("nobody-may-see"));
}

#[tokio::test]
async fn variables_do_what_flags_do() {
    let directory = tempdir().unwrap();
    let server = Server::start_with(
        directory.path(),
        &[],
        &[
            ("CORE_API_DATABASE", "sqlite:by-variable.db"),
            ("CORE_API_FAULT_INJECTION", "true"),
        ],
    );
    assert!(server.ready_line.contains("sqlite:by-variable.db"));
    server.wait_for_log("--fault-injection is on").await;
    assert!(directory.path().join("by-variable.db").exists());
}

#[tokio::test]
async fn the_ready_line_says_where_what_and_how() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let line = &server.ready_line;
    assert_ne!(server.address.port(), 0);
    assert!(line.contains("stores in sqlite:core-api.db"), "{line}");
    assert!(line.contains("Idempotency-Key: "), "{line}");
    let (_, curl) = line.split_once("curl ").unwrap();
    assert!(
        curl.contains(&format!("http://{}/bookings", server.address)),
        "{line}"
    );
    let body = curl
        .split_once("-d '")
        .unwrap()
        .1
        .trim_end()
        .trim_end_matches('\'');
    let request = server
        .request("POST", "/bookings")
        .header("Content-Type", "application/json")
        .body(body.to_owned());
    assert_eq!(request.send().await.unwrap().status(), 201);
}

#[test]
fn a_server_that_cannot_be_used_is_named_without_its_password() {
    let directory = tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let unreachable =
        format!("postgres://ann:nobody-may-see@{free}/bookings?password=nobody-may-see");
    let cases = [
        (
            unreachable.as_str(),
            format!("postgres://{free}/bookings: "),
        ),
        (
            "postgres://ann:nobody-may-see@db:port/bookings",
            "postgres://db:port/bookings: ".to_owned(),
        ),
    ];
    for (url, shown) in cases {
        let options = [
            vec!["--database", url],
            vec!["--database", "memory:", "--idempotency-store", url],
        ];
        for arguments in options {
            let option = arguments[arguments.len() - 2];
            let output = run(
                directory.path(),
                &[&["--listen", "127.0.0.1:0"], &*arguments].concat(),
            );
            assert_eq!(output.status.code(), Some(1));
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(
                error.starts_with(&format!("core-api: {option} {shown}")),
                "{error}"
            );
            assert!(!error.contains("nobody"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_value_that_cannot_be_used_is_not_repeated() {
    let directory = tempdir().unwrap();
    for option in ["--database", "--idempotency-store"] {
        for url in [
            "valkey://:nobody-may-see@host",
            "postgre://ann:nobody-may-see@host/bookings",
            "firestore://ann:nobody-may-see@project",
            "nobody-may-see",
        ] {
            let variable = format!("CORE_API_{}", option[2..].replace('-', "_").to_uppercase());
            for output in [
                run(directory.path(), &[option, url]),
                run(directory.path(), &[&format!("{option}={url}")]),
                output(command(directory.path()).env(variable, url)),
            ] {
                assert_eq!(output.status.code(), Some(2));
                let error = String::from_utf8(output.stderr).unwrap();
                assert!(error.contains(option), "{error}");
                assert!(
                    error.contains("such as firestore://") || error.contains("sqlite:PATH"),
                    "{error}"
                );
            }
        }
    }
    // In a parameter that the driver does not know, and would warn of.
    let url = "postgres://ann@127.0.0.1:1/bookings?sslpassword=nobody-may-see";
    let listen = ["--listen", "127.0.0.1:0"];
    for options in [["--database", url], ["--idempotency-store", url]] {
        let output = run(directory.path(), &[&listen[..], &options].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
    // In the wrong place.
    let url = "postgres://ann:nobody-may-see@host/bookings";
    for arguments in [
        &[url][..],
        &["--database", "memory:", url],
        &["--listen", url],
        &["--log-format", url],
        &[&format!("--fault-injection={url}")],
        &[&format!("--data-base={url}")],
    ] {
        assert_eq!(
            run(directory.path(), arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
}

#[test]
fn help_does_not_show_what_the_variables_have() {
    let directory = tempdir().unwrap();
    let help = output(
        command(directory.path())
            .arg("--help")
            .env("CORE_API_DATABASE", "postgres://ann:nobody-may-see@host/b")
            .env("CORE_API_IDEMPOTENCY_STORE", "redis://:nobody-may-see@host"),
    );
    assert_eq!(help.status.code(), Some(0));
}

/// A leftover variable would send bookings to another machine's emulator.
#[test]
fn an_emulator_of_firestore_on_another_machine_is_refused_and_named() {
    let directory = tempdir().unwrap();
    for options in [
        &["--database", "firestore://my-project"][..],
        &[
            "--database",
            "memory:",
            "--idempotency-store",
            "firestore://my-project",
        ],
    ] {
        let mut command = command(directory.path());
        command.env("FIRESTORE_EMULATOR_HOST", "emulator.example:8080");
        let refused = output(command.args(options));
        assert!(!refused.status.success());
        let said = String::from_utf8(refused.stderr).unwrap();
        let why =
            "FIRESTORE_EMULATOR_HOST names emulator.example:8080, which is not on this machine";
        assert!(said.contains(why), "{said}");
    }
}
