//! Bookings in PostgreSQL.

use sqlx::{Error, PgPool, Postgres, Transaction, query, raw_sql};

use super::Bookings;
use crate::service::Booking;

const CREATE: &str = "create table bookings (id uuid primary key, service_id text not null, \
    customer_name text not null, date text not null, time text not null)";

const INSERT: &str = "insert into bookings values ($1::text::uuid, $2, $3, $4, $5)";

impl Bookings {
    /// Makes the table.
    pub(crate) async fn in_postgres(pool: PgPool) -> Self {
        raw_sql(CREATE).execute(&pool).await.expect("a new table");
        Self::Postgres(pool)
    }
}

/// A transaction with the booking, as in handlers that have more than one statement.
pub(super) async fn begin(
    pool: &PgPool,
    booking: Booking,
) -> Result<Transaction<'static, Postgres>, Error> {
    let mut transaction = pool.begin().await?;
    query(INSERT)
        .bind(booking.id.to_string())
        .bind(booking.service_id)
        .bind(booking.customer_name)
        .bind(booking.date)
        .bind(booking.time)
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}
