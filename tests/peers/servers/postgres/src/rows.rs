//! Bookings as rows of PostgreSQL, in the database of the variable `DATABASE_URL`.

use std::env;

use axum::{Router, extract::State, routing::get};
use bookings::{NewBooking, TABLE};
use sqlx::{
    Connection, PgConnection, PgPool, Transaction, postgres::PgPoolOptions, query, query_scalar,
};

/// Creates the table, and connects as often as every other server of these tables.
///
/// # Panics
///
/// If it cannot.
pub async fn pool() -> PgPool {
    let url = env::var("DATABASE_URL").expect("DATABASE_URL is set");
    let mut connection = PgConnection::connect(&url).await.expect("a database");
    query(TABLE)
        .execute(&mut connection)
        .await
        .expect("it is empty");
    PgPoolOptions::new()
        .max_connections(20)
        .connect(&url)
        .await
        .expect("a database")
}

/// # Errors
///
/// If PostgreSQL does not store it.
pub async fn insert(
    new: &NewBooking,
    transaction: &mut Transaction<'_, sqlx::Postgres>,
) -> Result<u64, sqlx::Error> {
    let insert =
        "insert into bookings (guest, room, arrival, nights) values ($1, $2, $3, $4) returning id";
    let id: i64 = query_scalar(insert)
        .bind(&new.guest)
        .bind(&new.room)
        .bind(&new.arrival)
        .bind(i64::from(new.nights))
        .fetch_one(&mut **transaction)
        .await?;
    Ok(id.cast_unsigned())
}

/// The route by which the number of rows is read.
pub fn effects(pool: PgPool) -> Router {
    let number = async |State(pool): State<PgPool>| {
        let count = query_scalar::<_, i64>("select count(*) from bookings");
        count.fetch_one(&pool).await.expect("a count").to_string()
    };
    Router::new()
        .route("/effects", get(number))
        .with_state(pool)
}
