//! `rediss://`.

use std::{env, path::Path, process::Command};

use idempotency::{
    RedisStore, Store,
    store::{Claim, RedisStoreError},
};
use reqwest::StatusCode;
use tempfile::tempdir;
use tests::{
    reply::Reply,
    servers::{redis::RedisServer, skip},
};

use super::{hold_on, new_hold, request};
use crate::{claim, install_crypto_provider, service::Service, won};

/// The variable that passes the cluster's address to the process that trusts the certificate.
const CLUSTER: &str = "TESTED_CLUSTER";

/// The paths of a new certificate for this machine and its key; `None` where they cannot be made.
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
        let response = Reply::to(service.booking("ann-1")).await;
        assert_eq!(response.status, StatusCode::CREATED);
        assert_eq!(response.is_replay(), is_replayed);
    }
    install_crypto_provider();
    // This process does not trust the certificate.
    let refused = RedisStore::connect(&url).await;
    assert!(
        matches!(refused, Err(RedisStoreError::Connect(_))),
        "{refused:?}"
    );
    drop(server);
}

/// The node in the URL names the others, each with its TLS port.
#[tokio::test]
async fn keys_travel_encrypted_to_each_node_of_a_cluster() {
    const NAME: &str = "redis::tls::keys_travel_encrypted_to_each_node_of_a_cluster";
    install_crypto_provider();
    // A process trusts the certificates that are configured when it starts.
    if let Ok(url) = env::var(CLUSTER) {
        return works_on_each_node(&url).await;
    }
    let folder = tempdir().expect("a folder");
    let Some((certificate, key)) = certificate(folder.path()) else {
        return;
    };
    let Some((nodes, port)) = RedisServer::cluster_with_tls(&certificate, &key) else {
        return;
    };
    let url = format!("rediss://localhost:{port}");
    let trusting = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", NAME])
        .env(CLUSTER, &url)
        .env("SSL_CERT_FILE", &certificate)
        .output();
    let trusting = trusting.expect("a process");
    assert!(trusting.status.success(), "{trusting:?}");
    for node in &nodes {
        let mut connection = node.connection();
        let keys: usize = redis::cmd("DBSIZE").query(&mut connection).expect("a size");
        assert!(keys > 0, "each node has had some");
    }
    let refused = RedisStore::cluster([url]).await;
    assert!(
        matches!(refused, Err(RedisStoreError::Connect(_))),
        "{refused:?}"
    );
}

async fn works_on_each_node(url: &str) {
    let store = RedisStore::cluster([url]).await.expect("a store");
    for _ in 0..50 {
        let hold = new_hold();
        let claimed = claim(&store, &hold, &request()).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        let completed = store.complete(&hold, "booked".into()).await;
        completed.expect("a completion");
        let replayed = claim(&store, &hold_on(hold.id), &request()).await;
        assert!(
            matches!(replayed, Ok(Claim::Completed { .. })),
            "{replayed:?}"
        );
    }
}
