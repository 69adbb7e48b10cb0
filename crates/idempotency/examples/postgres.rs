//! Transfers in PostgreSQL by sqlx: the rows of a transfer, its key and its response are one commit.
//!
//! `DATABASE_URL=postgres://… cargo run --example postgres -p idempotency --features postgres`
//!
//! It makes the tables `example_accounts`, which it drops in the end, and those of the store.

use std::{env, error::Error};

use axum::{
    Extension, Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{CommitError, Execution, Idempotency, PostgresStore, idempotent};
use serde_json::json;
use sqlx::PgPool;
use tokio::net::TcpListener;

/// The part to copy. `?` gives an error of sqlx to the library: the transaction is rolled back, the key is free, and the
/// client gets 503 and may retry.
#[idempotent(ttl_seconds = 3600, transactional)]
async fn transfer(
    State(pool): State<PgPool>,
    execution: Execution,
    Json(euros): Json<i64>,
) -> Result<Response, CommitError> {
    let mut transaction = pool.begin().await?;
    let take = "update example_accounts set euros = euros - $1 where name = 'ann' and euros >= $1";
    let taken = sqlx::query(take)
        .bind(euros)
        .execute(&mut *transaction)
        .await?;
    if taken.rows_affected() == 0 {
        // A refusal of its own is stored as well, and this transaction is rolled back.
        return Ok((StatusCode::CONFLICT, "Ann has less than that").into_response());
    }
    let give = "update example_accounts set euros = euros + $1 where name = 'bob'";
    sqlx::query(give)
        .bind(euros)
        .execute(&mut *transaction)
        .await?;
    let response = (StatusCode::CREATED, Json(json!({ "transferred": euros })));
    execution.commit(transaction, response).await
}

async fn set_up(pool: &PgPool) -> Result<Idempotency, Box<dyn Error>> {
    for statement in [
        "drop table if exists example_accounts",
        "create table example_accounts (name text primary key, euros bigint not null)",
        "insert into example_accounts values ('ann', 100), ('bob', 0)",
    ] {
        sqlx::query(statement).execute(pool).await?;
    }
    let store = PostgresStore::new(pool.clone());
    store.create_schema().await?;
    // Each run of this program has keys of its own, so that it can be run again.
    let now = std::time::UNIX_EPOCH.elapsed()?;
    let namespace = format!("example-{}", now.as_nanos());
    Ok(Idempotency::builder(store)
        .with_namespace(&namespace)
        .build())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL to a PostgreSQL database")?;
    let pool = PgPool::connect(&url).await?;
    let app = Router::new()
        .route("/transfers", post(transfer))
        .layer(Extension(set_up(&pool).await?))
        .with_state(pool.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let transfers = format!("http://{}/transfers", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());

    let client = reqwest::Client::new();
    // Sends a transfer under a key, and returns its status, and what both accounts have then.
    let send = async |key: &str, euros: i64| {
        let request = client
            .post(&transfers)
            .header("Idempotency-Key", key)
            .json(&euros);
        let response = request.send().await?;
        let status = response.status().as_u16();
        let is_replay = response.headers().contains_key("Idempotent-Replayed");
        let select = "select array_agg(euros order by name) from example_accounts";
        let accounts: Vec<i64> = sqlx::query_scalar(select).fetch_one(&pool).await?;
        println!("key {key}, {euros} EUR: {status}, replayed: {is_replay}, accounts: {accounts:?}");
        Ok::<_, Box<dyn Error>>((status, is_replay, accounts))
    };

    assert_eq!(send("\"k1\"", 30).await?, (201, false, vec![70, 30]));
    assert_eq!(send("\"k1\"", 30).await?, (201, true, vec![70, 30]));
    assert_eq!(send("\"k2\"", 80).await?, (409, false, vec![70, 30]));
    // PostgreSQL refuses the sum of Bob's account, and nothing of this transfer stays.
    let check = "alter table example_accounts add constraint poor check (euros < 100)";
    sqlx::query(check).execute(&pool).await?;
    assert_eq!(send("\"k3\"", 70).await?, (503, false, vec![70, 30]));
    sqlx::query("alter table example_accounts drop constraint poor")
        .execute(&pool)
        .await?;
    assert_eq!(send("\"k3\"", 70).await?, (201, false, vec![0, 100]));

    sqlx::query("drop table example_accounts")
        .execute(&pool)
        .await?;
    Ok(())
}
