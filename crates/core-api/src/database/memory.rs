//! Bookings and keys in the memory of the process, for trials and tests. There are no transactions.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use async_trait::async_trait;
use axum::response::Response;
use idempotency::{Execution, MemoryStore, Store};
use parking_lot::Mutex;
use uuid::Uuid;

use super::{
    Bookings, DatabaseError,
    open::{Database, KeyDatabase, Keys},
};
use crate::{
    booking::{Booking, Change, Whose},
    secret::{self, SecretError, SecretFiles, Secrets},
};

/// The memory of this process.
pub(super) struct Memory;

/// Ids of version 7 begin with the time, so they sort by creation.
#[derive(Debug, Default)]
struct MemoryBookings(Mutex<BTreeMap<Uuid, Booking>>);

#[async_trait]
impl KeyDatabase for Memory {
    async fn open_keys(&self) -> Result<Box<dyn Keys>, DatabaseError> {
        Ok(Box::new(MemoryStore::new()))
    }
}

#[async_trait]
impl Database for Memory {
    async fn open(&self) -> Result<(Arc<dyn Bookings>, Box<dyn Keys>), DatabaseError> {
        Ok((Arc::new(MemoryBookings::default()), self.open_keys().await?))
    }
}

#[async_trait]
impl Keys for MemoryStore {
    fn into_store(self: Box<Self>) -> Arc<dyn Store> {
        Arc::new(*self)
    }

    fn with_limit(self: Box<Self>, bytes: usize) -> Result<Box<dyn Keys>, DatabaseError> {
        Ok(Box::new(self.with_limit_bytes(bytes)))
    }

    async fn secrets(&self, files: &SecretFiles, _: bool) -> Result<Secrets, SecretError> {
        secret::of_memory(files)
    }
}

#[async_trait]
impl Bookings for MemoryBookings {
    async fn insert(
        &self,
        booking: Booking,
        _execution: &Execution,
        response: Response,
    ) -> Result<Response, DatabaseError> {
        self.0.lock().insert(booking.id, booking);
        Ok(response)
    }

    async fn get(&self, id: Uuid, whose: &Whose) -> Result<Option<Booking>, DatabaseError> {
        let bookings = self.0.lock();
        let found = bookings.get(&id).filter(|booking| whose.has(booking));
        Ok(found.cloned())
    }

    async fn list(
        &self,
        whose: &Whose,
        after: Option<Uuid>,
        limit: u16,
    ) -> Result<Vec<Booking>, DatabaseError> {
        let older = (Unbounded, after.map_or(Unbounded, Excluded));
        let bookings = self.0.lock();
        let newest_first = bookings.range(older).rev().map(|(_, booking)| booking);
        Ok(newest_first
            .filter(|booking| whose.has(booking))
            .take(limit.into())
            .cloned()
            .collect())
    }

    async fn change(
        &self,
        id: Uuid,
        whose: Whose,
        change: Change,
        _execution: &Execution,
        respond: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let mut bookings = self.0.lock();
        let found = bookings.get_mut(&id).filter(|booking| whose.has(booking));
        let changed = found.map(|booking| {
            booking.apply(change);
            booking.clone()
        });
        Ok(respond(changed))
    }

    async fn remove(
        &self,
        id: Uuid,
        whose: Whose,
        _execution: &Execution,
        respond: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        let mut bookings = self.0.lock();
        let is_there = bookings.get(&id).is_some_and(|booking| whose.has(booking));
        if is_there {
            bookings.remove(&id);
        }
        Ok(respond(is_there))
    }

    async fn ping(&self) -> Result<(), DatabaseError> {
        Ok(())
    }
}
