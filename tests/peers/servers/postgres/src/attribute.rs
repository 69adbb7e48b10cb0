//! This project's attribute in transactional mode: row, key and response are one commit.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bookings::{NewBooking, serve};
use idempotency::{CommitError, Execution, Idempotency, PostgresStore, idempotent};
use postgres_servers::{effects, insert, pool};
use sqlx::PgPool;

#[idempotent(ttl_seconds = 86_400, transactional)]
async fn book(
    State(pool): State<PgPool>,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    let mut transaction = pool.begin().await?;
    let id = insert(&new, &mut transaction).await?;
    if let Err(failed) = new.after_effect().await {
        return Ok(failed.into_response());
    }
    execution.commit(transaction, new.booked(id)).await
}

#[tokio::main]
async fn main() {
    let pool = pool().await;
    let store = PostgresStore::new(pool.clone());
    store.create_schema().await.expect("an empty database");
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(pool.clone())
        .layer(Idempotency::new(store).extension());
    serve(router.merge(effects(pool))).await;
}
