//! Errors of database clients that a handler hands on by `?`.

#![deny(warnings)]

use axum::{Router, extract::Path, response::Response, routing::post};
use http::StatusCode;
use idempotency::{CommitError, Execution, idempotent, store::SqliteStoreError};
use tokio_postgres::NoTls;

use crate::support::{protected, send};

#[idempotent(ttl_seconds = 60)]
async fn book(Path(client): Path<String>, _execution: Execution) -> Result<Response, CommitError> {
    fail(&client).await?;
    unreachable!("the client has failed");
}

async fn fail(client: &str) -> Result<(), CommitError> {
    match client {
        "sqlx" => Err(sqlx::Error::PoolTimedOut)?,
        "sqlx-0_8" => Err(sqlx_0_8::Error::PoolTimedOut)?,
        "tokio-postgres" => {
            drop(tokio_postgres::connect("no=parameter", NoTls).await?);
        }
        "sqlite" => Err(SqliteStoreError::Overloaded)?,
        _ => Err(SqliteStoreError::Stopped)?,
    }
    Ok(())
}

#[tokio::test]
async fn a_database_error_that_a_handler_hands_on_is_a_503_and_leaves_the_key_free() {
    let app = protected(Router::new().route("/{client}", post(book)));
    for (path, code) in [
        ("/sqlx", "\"commit_failed\""),
        ("/sqlx-0_8", "\"commit_failed\""),
        ("/tokio-postgres", "\"commit_failed\""),
        ("/sqlite", "\"commit_failed\""),
        ("/sqlite-write", "\"idempotency_commit_unknown\""),
    ] {
        for _ in 0..2 {
            let reply = send(&app, "POST", path, path, "{}").await;
            assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(reply.text().contains(code), "{path}: {}", reply.text());
            assert!(!reply.is_replay(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_database_error_that_a_handler_hands_on_keeps_its_cause() {
    let sources = |error| match error {
        CommitError::Failed(source) => source,
        other => panic!("{other:?}"),
    };
    let sqlx = sources(fail("sqlx").await.expect_err("it fails"));
    assert!(sqlx.is::<sqlx::Error>());
    let sqlx = sources(fail("sqlx-0_8").await.expect_err("it fails"));
    assert!(sqlx.is::<sqlx_0_8::Error>());
    let tokio = sources(fail("tokio-postgres").await.expect_err("it fails"));
    assert!(tokio.is::<tokio_postgres::Error>());
}
