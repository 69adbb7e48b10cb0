//! Checks of a server's URL before anything is sent.

use std::{path::Path, process::Output};

use tempfile::tempdir;

use crate::server::command;

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = command(directory);
    command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    command.output().unwrap()
}

/// Nothing has been sent yet: there is no such server.
#[test]
fn a_postgres_server_elsewhere_needs_an_explicit_sslmode() {
    let directory = tempdir().unwrap();
    let start = |option: &str, url: &str| {
        let arguments = match option {
            "--database" => vec![option, url],
            _ => vec!["--database", "memory:", option, url],
        };
        let output = run(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!error.contains("s3cret"), "{error}");
        error
    };
    for option in ["--database", "--idempotency-store"] {
        for (url, shown) in [
            (
                "postgres://ann:s3cret@db.invalid/b",
                "postgres://db.invalid/b",
            ),
            (
                "postgres://ann:s3cret@192.0.2.1/b?sslmode=prefer",
                "postgres://192.0.2.1/b",
            ),
            (
                "postgres://ann:s3cret@localhost/b?host=db.invalid",
                "postgres://localhost/b",
            ),
        ] {
            let error = start(option, url);
            let refusal = format!("core-api: {option} {shown}: the server is not on this machine");
            assert!(error.starts_with(&refusal), "{error}");
            assert!(error.contains("sslmode=verify-full"), "{error}");
        }
        for (mode, warning) in [
            ("disable", "is not encrypted"),
            (
                "require",
                "certificate of the PostgreSQL server is not verified",
            ),
            ("verify-ca", "name of the PostgreSQL server is not verified"),
        ] {
            let url = format!("postgres://ann:s3cret@db.invalid/b?sslmode={mode}");
            let error = start(option, &url);
            assert!(error.contains(warning), "{error}");
            assert!(error.contains("cannot be reached"), "{error}");
        }
        for url in [
            "postgres://ann:s3cret@db.invalid/b?sslmode=verify-full",
            "postgres://ann:s3cret@127.0.0.1:1/b",
            "postgres://ann:s3cret@localhost:1/b",
            "postgres:///b?host=/missing&password=s3cret",
        ] {
            let error = start(option, url);
            assert!(error.contains("cannot be reached"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn a_password_that_goes_to_redis_unencrypted_is_warned_of() {
    let directory = tempdir().unwrap();
    for (url, is_warned_of) in [
        ("redis://:s3cret@keys.invalid", true),
        ("redis://keys.invalid", false),
        ("rediss://:s3cret@keys.invalid", false),
        ("redis://:s3cret@127.0.0.1:1", false),
    ] {
        let arguments = ["--database", "memory:", "--idempotency-store", url];
        let error = run(directory.path(), &arguments).stderr;
        let error = String::from_utf8(error).unwrap();
        assert!(!error.contains("s3cret"), "{error}");
        let warning = error.contains("the connection to Redis is not encrypted");
        assert_eq!(warning, is_warned_of, "{url}: {error}");
    }
}
