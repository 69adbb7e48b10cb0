//! Bookings in the memory of the process, for trying out and for tests.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use uuid::Uuid;

use super::{Bookings, DatabaseError};
use crate::bookings::{Booking, Change};

/// Ids of version 7 begin with the time, so their order is that of creation.
#[derive(Debug, Default)]
pub(crate) struct MemoryBookings(Mutex<BTreeMap<Uuid, Booking>>);

#[async_trait]
impl Bookings for MemoryBookings {
    async fn insert(&self, booking: Booking) -> Result<(), DatabaseError> {
        self.0.lock().insert(booking.id, booking);
        Ok(())
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

    async fn change(&self, id: Uuid, change: Change) -> Result<Option<Booking>, DatabaseError> {
        Ok(self.0.lock().get_mut(&id).map(|booking| {
            booking.apply(change);
            booking.clone()
        }))
    }

    async fn remove(&self, id: Uuid) -> Result<bool, DatabaseError> {
        Ok(self.0.lock().remove(&id).is_some())
    }

    async fn ping(&self) -> Result<(), DatabaseError> {
        Ok(())
    }
}
