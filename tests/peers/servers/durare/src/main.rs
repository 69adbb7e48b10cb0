//! A workflow of `durare`, whose id is the key. Its one step is a transaction, so the row and the step's record are one commit; the
//! workflow's own records are others.

use std::{env, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bookings::{Booking, Failed, NewBooking, TABLE, serve};
use durare::{
    DurableContext, DurableEngine, Error, PostgresProvider, Result, Tx, WorkflowOptions, params,
};
use sqlx::{PgPool, postgres::PgPoolOptions, query, query_scalar};

#[durare::transaction]
async fn insert(ctx: &DurableContext, tx: &mut Tx<'_>, new: NewBooking) -> Result<i64> {
    let insert =
        "insert into bookings (guest, room, arrival, nights) values (?, ?, ?, ?) returning id";
    let values = params![
        new.guest.clone(),
        new.room.clone(),
        new.arrival.clone(),
        i64::from(new.nights)
    ];
    let row = tx.query_one(insert, &values).await?;
    let ending = new.after_effect().await;
    ending.map_err(|Failed| Error::app("a request asked for this"))?;
    Ok(row.get::<i64>("id"))
}

#[durare::workflow]
async fn booking_workflow(ctx: DurableContext, new: NewBooking) -> Result<Booking> {
    let id = insert(&ctx, new.clone()).await?;
    Ok(new.booked(id.cast_unsigned()))
}

async fn book(
    State(engine): State<Arc<DurableEngine>>,
    headers: HeaderMap,
    Json(new): Json<NewBooking>,
) -> Response {
    let key = headers
        .get("Idempotency-Key")
        .and_then(|key| key.to_str().ok());
    let options = key.map_or_else(WorkflowOptions::default, WorkflowOptions::with_id);
    let booked = async {
        engine
            .start_with(BookingWorkflow, new, options)
            .await?
            .await
    };
    let booked: Result<Booking> = booked.await;
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
    let provider = PostgresProvider::from_pool(pool.clone());
    let engine = DurableEngine::builder(Arc::new(provider)).build().await;
    let engine = Arc::new(engine.expect("an empty database"));
    engine.launch().await.expect("it starts");
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(engine)
        .merge(
            Router::new()
                .route("/effects", get(effects))
                .with_state(pool),
        );
    serve(router).await;
}
