//! Bookings whose rows are committed with their keys, on the machine of the database.

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    extract::{FromRef, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::future::BoxFuture;
use idempotency::{
    __database1::{CommitFailure, Committed, EncodeResponse, NewOutcome, PendingRecord, Sealed},
    CommitError, Execution, Store, idempotent,
    store::{IfOwner, Transaction},
};
use tokio::time::{sleep, timeout};

use crate::{
    remote_store::RemoteStore,
    rows::{Rows, Write},
    world::World,
};

/// The booking of one run.
#[derive(Clone, Debug)]
pub(crate) struct Booking {
    operation: String,
    run: u32,
}

/// What a service's handlers work with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) store: RemoteStore,
    /// Used by what is sent to the database, and by nothing here.
    pub(crate) rows: Arc<Rows<Booking>>,
    /// Whether row and key are one commit. Otherwise the row is there first: a mistake that has to be found.
    pub(crate) is_atomic: bool,
}

impl FromRef<Desk> for World {
    fn from_ref(desk: &Desk) -> Self {
        desk.world.clone()
    }
}

/// A transaction with one booking.
struct Insert {
    desk: Desk,
    booking: Booking,
}

impl Insert {
    /// The commit as it is sent; nothing if another run has the key.
    async fn prepare(
        &self,
        entry: &PendingRecord,
        outcome: &NewOutcome,
    ) -> Result<Option<Write<Booking>>, CommitFailure> {
        let (rows, booking) = (Arc::clone(&self.desk.rows), self.booking.clone());
        let (entry, outcome) = (entry.clone(), outcome.clone());
        let prepared = self.desk.store.ask(move |_| {
            let prepared = rows.prepare(booking.clone(), &entry, outcome.clone());
            async move { Ok(prepared) }
        });
        let prepared = prepared.await;
        prepared.map_err(|error| CommitFailure::Undone(error.into()))
    }
}

/// What the database does with the commit, as often as it arrives.
fn arrives(desk: &Desk, write: &Write<Booking>) -> Option<SystemTime> {
    let Booking { operation, run } = &write.row;
    let committed = desk.rows.commit(write);
    if committed.is_some() || !desk.is_atomic {
        desk.world.note(format!("store: commit of {operation}"));
        desk.world.charges(operation, format!("run {run}"));
        desk.world.commits(operation);
    } else {
        desk.world
            .note(format!("store: refuses a commit of {operation}"));
    }
    committed
}

impl Sealed for Insert {}

impl Transaction for Insert {
    type Value = ();

    fn shares(&self, store: &dyn Store) -> bool {
        let store: &dyn Any = store;
        store.is::<RemoteStore>()
    }

    fn commit<'a>(
        self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<()>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let outcome = ending(()).await.map_err(CommitFailure::Undone)?;
            let entry = entry.expect("a record: each request has a key");
            loop {
                let Some(write) = self.prepare(&entry, &outcome).await? else {
                    return Ok(IfOwner::NotOwner);
                };
                let desk = self.desk.clone();
                let sent = self.desk.store.ask(move |_| {
                    let committed = arrives(&desk, &write);
                    async move { Ok(committed) }
                });
                match sent.await {
                    Ok(Some(expires_at)) => {
                        return Ok(IfOwner::Done(Committed {
                            outcome,
                            expires_at: Some(expires_at),
                        }));
                    }
                    // By this commit, whose first reply was lost, or by another one: the next look says so.
                    Ok(None) => {}
                    Err(error) if error.was_sent() => {
                        let Booking { operation, run } = &self.booking;
                        let note = format!("run {run} of {operation} is not confirmed");
                        self.desk.world.note(note);
                        return Err(CommitFailure::Unknown(error.into()));
                    }
                    Err(error) => return Err(CommitFailure::Undone(error.into())),
                }
            }
        })
    }
}

#[idempotent(ttl_seconds = 3600, transactional)]
pub(crate) async fn book_a_row(
    State(desk): State<Desk>,
    execution: Execution,
    operation: String,
) -> Result<Response, CommitError> {
    booked(desk, &execution, operation).await
}

#[idempotent(ttl_seconds = 3600, transactional, on_duplicate = "wait")]
pub(crate) async fn book_a_row_waiting(
    State(desk): State<Desk>,
    execution: Execution,
    operation: String,
) -> Result<Response, CommitError> {
    booked(desk, &execution, operation).await
}

async fn booked(
    desk: Desk,
    execution: &Execution,
    operation: String,
) -> Result<Response, CommitError> {
    let world = desk.world.clone();
    let run = world.tries(&operation);
    sleep(world.pause(3000)).await;
    // A fifth of the runs fails before its commit.
    if world.pause(5) < Duration::from_millis(1) {
        return Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response());
    }
    let response = format!("{operation} by run {run}");
    let booking = Booking { operation, run };
    let commit = execution.commit(Insert { desk, booking }, (StatusCode::CREATED, response));
    // Some handlers have less patience than a commit takes.
    match timeout(world.pause(6000), commit).await {
        Ok(committed) => {
            sleep(world.pause(500)).await;
            committed
        }
        Err(_) => {
            world.note(format!("run {run} drops its commit"));
            Ok(StatusCode::GATEWAY_TIMEOUT.into_response())
        }
    }
}
