//! A workflow of `dbos`, whose id is the key. It has no step that commits together with rows, so a crash between the row's commit
//! and the step's makes a second row.

use std::env;

use axum::{
    Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bookings::{Booking, Failed, NewBooking, TABLE, serve};
use dbos::{Config, DBOS, Error, RunOptions, WorkflowRef, step};
use sqlx::{PgPool, postgres::PgPoolOptions, query, query_scalar};

type Workflow = WorkflowRef<NewBooking, Booking, Failed>;

/// The row is committed at the end, as that of the server without keys is.
async fn insert(pool: PgPool, new: NewBooking) -> dbos::Result<i64, Failed> {
    let mut transaction = pool.begin().await.map_err(|_| Failed)?;
    let insert =
        "insert into bookings (guest, room, arrival, nights) values ($1, $2, $3, $4) returning id";
    let id = query_scalar(insert)
        .bind(&new.guest)
        .bind(&new.room)
        .bind(&new.arrival)
        .bind(i64::from(new.nights))
        .fetch_one(&mut *transaction)
        .await
        .map_err(|_| Failed)?;
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

async fn effects(State(pool): State<PgPool>) -> String {
    let count = query_scalar::<_, i64>("select count(*) from public.bookings");
    count.fetch_one(&pool).await.expect("a count").to_string()
}

#[tokio::main]
async fn main() {
    let url = env::var("DATABASE_URL").expect("DATABASE_URL is set");
    let pool = PgPoolOptions::new()
        .max_connections(20)
        .connect(&url)
        .await
        .expect("a database");
    query(TABLE).execute(&pool).await.expect("it is empty");
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
            Ok::<_, Error<Failed>>(new.booked(id.cast_unsigned()))
        }
    });
    dbos.launch().await.expect("an empty database");
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(workflow.expect("a new name"))
        .merge(
            Router::new()
                .route("/effects", get(effects))
                .with_state(pool),
        );
    serve(router).await;
}
