//! The program `conformance` (`tests/bin/conformance`), which knows a service by its responses alone: it finds nothing wrong with a service
//! that the library protects, and finds what is wrong with a broken one.

mod presets;
mod program;
mod service;

use std::net::SocketAddr;

use axum::{Json, http::StatusCode};
use idempotency::{
    HttpConfig, Idempotency, IdempotencyLayer, MemoryStore, Options, Scope, http::HttpRejection,
};

use program::{ask, conformance};
use tokio::net::TcpSocket;

const OPTIONS: Options = Options::new().required();

async fn start(http: HttpConfig, options: Options, times: usize) -> SocketAddr {
    let idempotency = Idempotency::builder(MemoryStore::new())
        .with_http(http)
        .build();
    let layer = IdempotencyLayer::new(idempotency).with_options(options);
    service::start(Some(layer), times).await
}

// proves: draft-kept-seen-from-outside
#[tokio::test]
async fn the_draft_is_kept() {
    let service = start(HttpConfig::new(), OPTIONS, 1).await;
    let verdicts = ask(service, "draft-07").await;
    verdicts.assert_failed([]);
    assert_eq!(verdicts.exit_code, 0);
}

#[tokio::test]
async fn work_that_is_done_twice_is_found() {
    let service = start(HttpConfig::new(), OPTIONS, 2).await;
    let verdicts = ask(service, "draft-07").await;
    verdicts.assert_failed([
        "concurrent-requests-one-effect",
        "first-request-runs",
        "new-key-runs-again",
        "other-body-has-no-effect",
        "retry-has-no-effect",
    ]);
    assert_eq!(verdicts.exit_code, 1);
}

#[tokio::test]
async fn a_replay_for_another_body_is_found() {
    let without_body = OPTIONS.fingerprint(|_, _| Vec::new());
    let service = start(HttpConfig::new(), without_body, 1).await;
    let verdicts = ask(service, "draft-07").await;
    verdicts.assert_failed(["other-body-422", "other-body-explained", "other-body-fails"]);
    assert_eq!(verdicts.exit_code, 1);
}

#[tokio::test]
async fn a_conflict_in_place_of_422_is_found() {
    let http = HttpConfig::new().with_rejection_response(|rejection: &HttpRejection| {
        let status = match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => StatusCode::CONFLICT,
            other => other,
        };
        (status, Json(rejection.code()))
    });
    let service = start(http, OPTIONS, 1).await;
    let verdicts = ask(service, "draft-07").await;
    verdicts.assert_failed(["other-body-422"]);
    // It is a SHOULD.
    assert_eq!(verdicts.exit_code, 0);
}

/// Of each dialect it keeps only the rules that are kept by reading no key.
#[tokio::test]
async fn a_service_without_protection_is_found_by_all_other_rules() {
    for (dialect, kept) in [
        (
            "draft-07",
            &[
                "callers-have-their-own-keys",
                "first-request-runs",
                "new-key-runs-again",
                "string-key-taken",
            ][..],
        ),
        ("stripe", &["key-without-effect-on-get"]),
        (
            "acp",
            &[
                "callers-have-their-own-keys",
                "paths-have-their-own-keys",
                "server-errors-not-kept",
                "server-errors-run-again",
            ],
        ),
        ("ucp", &[]),
        (
            "repeatable-requests",
            &["four-minutes-accepted", "server-errors-not-kept"],
        ),
        (
            "iceberg",
            &[
                "retry-gets-equivalent-response",
                "server-errors-not-finalized",
            ],
        ),
    ] {
        let service = service::start(None, 1).await;
        let verdicts = ask(service, dialect).await;
        let kept = kept.iter().copied().collect();
        assert_eq!(verdicts.rules("passed"), kept, "{dialect}: {verdicts:#?}");
        let untried = ["unsupported-501", "support-advertised"].into();
        assert!(verdicts.rules("not-tried").is_subset(&untried), "{dialect}");
        assert!(
            verdicts.rules("error").is_empty(),
            "{dialect}: {verdicts:#?}"
        );
        assert_eq!(verdicts.exit_code, 1);
    }
}

#[tokio::test]
async fn keys_that_callers_share_are_found() {
    let shared = OPTIONS.scope(|_| Ok(Scope::principal("everyone")));
    let service = start(HttpConfig::new(), shared, 1).await;
    let verdicts = ask(service, "draft-07").await;
    verdicts.assert_failed(["callers-have-their-own-keys"]);
}

#[tokio::test]
async fn what_gets_no_response_is_an_error_and_never_a_pass() {
    // A port that nothing else can take, and that takes no connection.
    let closed = TcpSocket::new_v4().expect("a socket");
    let any = "127.0.0.1:0".parse().expect("an address");
    closed.bind(any).expect("a free port");
    let address = closed.local_addr().expect("an address");
    let output = conformance(&[&format!("http://{address}")]).await;
    assert_eq!(output.exit_code, 2, "{output:?}");
    assert!(output.stderr.contains("no response"), "{output:?}");
    assert_eq!(output.stdout, "");
}

#[tokio::test]
async fn what_a_target_lacks_is_not_tried_and_the_report_says_so() {
    let service = start(HttpConfig::new(), Options::new(), 1).await;
    let output = conformance(&[
        &format!("http://{service}"),
        "--target",
        "bookings",
        "--rule",
        "missing-key-400",
    ])
    .await;
    assert_eq!(output.exit_code, 0, "{output:?}");
    assert!(
        output.stdout.contains("NOT TRIED  should  missing-key-400"),
        "{output:?}"
    );
    assert!(
        output
            .stdout
            .contains("the target bookings requires no key"),
        "{output:?}"
    );
    assert!(
        output
            .stdout
            .contains("should  0 passed, 0 failed, 1 not tried, 0 error"),
        "{output:?}"
    );
}

#[tokio::test]
async fn each_dialect_and_each_target_can_be_read() {
    for dialect in [
        "draft-07",
        "stripe",
        "acp",
        "ucp",
        "repeatable-requests",
        "iceberg",
    ] {
        let output = conformance(&["--list", "--dialect", dialect]).await;
        assert_eq!(output.exit_code, 0, "{output:?}");
        assert!(output.stdout.contains("retry-has-no-effect"), "{output:?}");
    }
    for target in ["core-api", "bookings"] {
        // The address is not one, so only the target is read.
        let output = conformance(&["nowhere", "--target", target]).await;
        assert_eq!(output.exit_code, 2, "{output:?}");
        assert!(
            output.stderr.contains("POST nowhere/bookings: no response"),
            "{output:?}"
        );
    }
}

#[tokio::test]
async fn effects_that_cannot_be_counted_are_an_error() {
    let service = start(HttpConfig::new(), OPTIONS, 1).await;
    let url = format!("http://{service}");
    // Of the other target, whose list of bookings this service does not have.
    let arguments = [&url, "--target", "core-api", "--rule", "first-request-runs"];
    let output = conformance(&arguments).await;
    assert_eq!(output.exit_code, 2, "{output:?}");
    let error = "effects cannot be counted: no number and no array at \"\" of 200";
    assert!(output.stdout.contains(error), "{output:?}");
}
