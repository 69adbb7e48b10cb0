//! Encrypted connections to the server.

use idempotency::{PostgresStore, store::PostgresStoreError};
use tests::{reply::Reply, servers::postgres::PostgresServer};

use super::{database, new_hold, request, until};
use crate::{claim, install_crypto_provider, service::Service, won};

/// This program has clients of several databases, with two crypto providers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_with_a_certificate_of_a_known_authority_is_used() {
    let Some(server) = PostgresServer::start_with_tls() else {
        return;
    };
    install_crypto_provider();
    let url = server.database().await;
    let authority = server.authority();
    let verified = |host: &str, mode: &str| {
        let url = url.replace("127.0.0.1", host);
        format!("{url}?sslmode={mode}&sslrootcert={}", authority.display())
    };
    for way in [
        verified("127.0.0.1", "verify-ca"),
        verified("localhost", "verify-full"),
    ] {
        // The service is a process of its own, and chooses for itself.
        for options in [
            &["--database", &way][..],
            &["--database", "memory:", "--idempotency-store", &way],
        ] {
            let service = Service::start(options);
            let booked = Reply::to(service.booking(&uuid::Uuid::new_v4().to_string())).await;
            assert_eq!(booked.status, 201, "{booked:?}");
        }
        let store = PostgresStore::connect(&way).await.expect("a store");
        let claimed = claim(&store, &new_hold(), &request()).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        let encrypted = "
            select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid)
            where datname = current_database() and pid <> pg_backend_pid()
        ";
        until(&url, encrypted).await;
    }
    for refused in [
        verified("127.0.0.1", "verify-full"),
        format!(
            "{}?sslmode=verify-full",
            url.replace("127.0.0.1", "localhost")
        ),
    ] {
        let refused = PostgresStore::connect(&refused).await;
        assert!(
            matches!(
                refused,
                Err(PostgresStoreError::Connect(
                    sqlx::Error::Io(_) | sqlx::Error::Tls(_)
                ))
            ),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_password_is_not_shown() {
    let Some(url) = database().await else { return };
    let url = url.replace("postgres@", "postgres:secret@");
    let service = Service::start(&["--database", &url]);
    assert!(!service.ready_line.contains("secret"));
    assert!(
        service
            .ready_line
            .contains("stores in postgres://127.0.0.1:")
    );
}
