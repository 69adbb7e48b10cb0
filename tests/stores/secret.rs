//! The secret of `core-api` where several services share the keys.

use std::{fs, process::Command};

use tests::reply::Reply;

use crate::service::{Service, places};

const WARNING: &str = "keys are stored without a secret";

/// Starts the service, and returns how often it warned that there is no secret.
async fn start(options: &[&str]) -> (Service, usize) {
    let service = Service::start(&[options, &["--log-format", "json"]].concat());
    // Its start-up messages are in the log before its first line about a request.
    Reply::to(service.booking("first")).await;
    service.wait_for_log("/bookings").await;
    let warnings = service.logged().matches(WARNING).count();
    (service, warnings)
}

// proves: guessed-key-reveals-nothing
#[tokio::test(flavor = "multi_thread")]
async fn services_that_share_a_server_are_given_one_secret_or_warn_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("secret");
    let named = file.to_str().expect("UTF-8");
    for (options, _server) in places().await {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let (without, warnings) = start(&options).await;
        assert_eq!(warnings, 1);
        let unkeyed = Reply::to(without.booking("k")).await;
        assert!(!unkeyed.is_replay(), "{unkeyed:?}");
        drop(without);

        // No machine generates a secret that the others do not have.
        let with = [options.as_slice(), &["--secret-file", named]].concat();
        let refused = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"))
            .args(["--listen", "127.0.0.1:0"])
            .args(&with)
            .output()
            .expect("the service runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        let why = format!("--secret-file {named}: there is no such file");
        assert!(said.contains(&why), "{said}");
        assert!(!file.exists());

        fs::write(&file, "5e".repeat(32)).expect("a secret");
        let mut responses = Vec::new();
        for _ in 0..2 {
            let (service, warnings) = start(&with).await;
            assert_eq!(warnings, 0);
            responses.push((Reply::to(service.booking("k")).await, service));
        }
        let [(first, _one), (second, _other)] = responses.as_slice() else {
            panic!("two responses: {}", responses.len());
        };
        // The key that was stored without the secret is another one, as the help says.
        assert!(!first.is_replay(), "{first:?}");
        assert!(second.is_replay(), "{second:?}");
        assert_eq!(first.body, second.body);
        fs::remove_file(&file).expect("a secret");
    }
}
