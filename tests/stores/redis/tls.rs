//! `rediss://`.

use std::{path::Path, process::Command};

use reqwest::StatusCode;
use tempfile::tempdir;
use tests::servers::{redis::RedisServer, skip};

use crate::service::{Service, send};

/// The names of a certificate for this machine and its key, made in the folder; none where that cannot be done.
fn certificate(folder: &Path) -> Option<(String, String)> {
    let path = |name| {
        let path = folder.join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=test"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &key, "-out", &certificate])
        .output();
    let Ok(made) = made else {
        skip(
            "TLS",
            "openssl is not installed (Debian: apt-get install openssl)",
            false,
        );
        return None;
    };
    assert!(made.status.success(), "{made:?}");
    Some((certificate, key))
}

#[tokio::test]
async fn keys_travel_encrypted_to_a_server_with_a_certificate_that_is_trusted() {
    let folder = tempdir().expect("a folder");
    let Some((certificate, key)) = certificate(folder.path()) else {
        return;
    };
    let Some((server, port)) = RedisServer::start_with_tls(&certificate, &key) else {
        return;
    };
    let url = format!("rediss://localhost:{port}");
    let service = Service::start_with(
        &["--database", "memory:", "--idempotency-store", &url],
        &[("SSL_CERT_FILE", &certificate)],
    );
    for is_replayed in [false, true] {
        let answer = send(service.booking("ann-1")).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(answer.is_replayed, is_replayed);
    }
    let refused = idempotency::RedisStore::connect(&url).await;
    assert!(refused.is_err(), "nobody trusts this certificate here");
    drop(server);
}
