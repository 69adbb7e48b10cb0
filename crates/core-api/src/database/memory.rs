//! Bookings in the memory of the process, for trying out and for tests. There is nothing to commit.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use async_trait::async_trait;
use axum::response::Response;
use idempotency::Execution;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{Bookings, DatabaseError};
use crate::bookings::{Booking, Change};

/// Ids of version 7 begin with the time, so their order is that of creation.
#[derive(Debug, Default)]
pub(crate) struct MemoryBookings(Mutex<BTreeMap<Uuid, Booking>>);

#[async_trait]
impl Bookings for MemoryBookings {
    async fn insert(
        &self,
        booking: Booking,
        _execution: &Execution,
        answer: Response,
    ) -> Result<Response, DatabaseError> {
        self.0.lock().insert(booking.id, booking);
        Ok(answer)
    }

    async fn get(&self, id: Uuid) -> Result<Option<Booking>, DatabaseError> {
        Ok(self.0.lock().get(&id).cloned())
    }

    async fn list(&self, after: Option<Uuid>, limit: u16) -> Result<Vec<Booking>, DatabaseError> {
        let older = (Unbounded, after.map_or(Unbounded, Excluded));
        let bookings = self.0.lock();
        let newest_first = bookings.range(older).rev();
        Ok(newest_first
            .take(limit.into())
            .map(|(_, booking)| booking.clone())
            .collect())
    }

    async fn change(
        &self,
        id: Uuid,
        change: Change,
        _execution: &Execution,
        answer: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let changed = self.0.lock().get_mut(&id).map(|booking| {
            booking.apply(change);
            booking.clone()
        });
        Ok(answer(changed))
    }

    async fn remove(
        &self,
        id: Uuid,
        _execution: &Execution,
        answer: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        let removed = self.0.lock().remove(&id).is_some();
        Ok(answer(removed))
    }

    async fn ping(&self) -> Result<(), DatabaseError> {
        Ok(())
    }
}
