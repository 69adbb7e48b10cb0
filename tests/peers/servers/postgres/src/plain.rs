//! axum and one transaction of PostgreSQL for each request.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bookings::{Failed, NewBooking, serve};
use postgres_servers::{effects, insert, pool};
use sqlx::PgPool;

async fn book(State(pool): State<PgPool>, Json(new): Json<NewBooking>) -> Response {
    let booked = async {
        let mut transaction = pool.begin().await.map_err(|_| Failed)?;
        let id = insert(&new, &mut transaction).await.map_err(|_| Failed)?;
        new.after_effect().await?;
        transaction.commit().await.map_err(|_| Failed)?;
        Ok::<_, Failed>(new.booked(id))
    };
    booked.await.into_response()
}

#[tokio::main]
async fn main() {
    let pool = pool().await;
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(pool.clone());
    serve(router.merge(effects(pool))).await;
}
