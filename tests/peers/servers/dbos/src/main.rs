//! A workflow of `dbos`, whose id is the key. It has no step that commits together with rows, so a crash between the row's commit
//! and the step's makes a second row.

use std::env;

use axum::{
    Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::post,
};
use bookings::{Booking, Failed, NewBooking, serve};
use dbos::{Config, DBOS, Error, RunOptions, WorkflowRef, step};
use postgres_servers::{effects, pool};
use sqlx::PgPool;

type Workflow = WorkflowRef<NewBooking, Booking, Failed>;

/// The row is committed at the end, as that of the server without keys is.
async fn insert(pool: PgPool, new: NewBooking) -> dbos::Result<u64, Failed> {
    let mut transaction = pool.begin().await.map_err(|_| Failed)?;
    let id = postgres_servers::insert(&new, &mut transaction).await;
    let id = id.map_err(|_| Failed)?;
    new.after_effect().await?;
    transaction.commit().await.map_err(|_| Failed)?;
    Ok(id)
}

async fn book(
    State(workflow): State<Workflow>,
    headers: HeaderMap,
    Json(new): Json<NewBooking>,
) -> Response {
    let key = headers
        .get("Idempotency-Key")
        .and_then(|key| key.to_str().ok());
    let options = RunOptions {
        workflow_id: key,
        ..RunOptions::default()
    };
    let booked = workflow.run_with(new, options).await;
    booked.map_err(|_| Failed).into_response()
}

#[tokio::main]
async fn main() {
    let url = env::var("DATABASE_URL").expect("DATABASE_URL is set");
    let pool = pool().await;
    let dbos = DBOS::new(Config {
        app_version: Some("1".to_owned()),
        max_connections: 20,
        ..Config::new("bookings", url)
    });
    let rows = pool.clone();
    let workflow = dbos.register_workflow("book", move |new: NewBooking| {
        let rows = rows.clone();
        async move {
            let insert = step("insert", || insert(rows.clone(), new.clone()));
            let id = insert.await?;
            Ok::<_, Error<Failed>>(new.booked(id))
        }
    });
    dbos.launch().await.expect("an empty database");
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(workflow.expect("a new name"))
        .merge(effects(pool));
    serve(router).await;
}
