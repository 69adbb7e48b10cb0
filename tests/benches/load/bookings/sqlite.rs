//! Bookings in a SQLite file.

use idempotency::SqliteDatabase;
use rusqlite::{Connection, Error, params};

use super::Bookings;
use crate::service::Booking;

pub(super) const CREATE: &str = "create table bookings (id text primary key, service_id text not null, \
    customer_name text not null, date text not null, time text not null) strict, without rowid";

impl Bookings {
    /// Makes the table.
    pub(crate) async fn in_file(database: SqliteDatabase) -> Self {
        let created = database.write(|connection| connection.execute_batch(CREATE));
        created.await.expect("a new table");
        Self::Sqlite(database)
    }
}

pub(super) fn insert(connection: &Connection, booking: &Booking) -> Result<(), Error> {
    let insert = "insert into bookings values (?1, ?2, ?3, ?4, ?5)";
    let inserted = connection.prepare_cached(insert)?.execute(params![
        booking.id.to_string(),
        booking.service_id,
        booking.customer_name,
        booking.date,
        booking.time,
    ]);
    inserted.map(drop)
}
