//! What is done for one request where the process is to end at a point of it: a charge and a booking.

use std::{convert::Infallible, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use idempotency::{
    CommitError, Execution, StepError, Store, idempotent,
    store::{Claim, ClaimRequest, Hold, IfOwner, Record, RecordId, StoreError},
};
use tests::delegate::Hooks;

use crate::{
    App, Booking, NewBooking,
    points::{Death, Point},
};

/// A store whose calls the process may not outlive.
#[derive(Debug)]
pub(crate) struct DyingStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) death: Death,
}

/// One route for each way to end a run.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/takes-over", post(take_over))
        .route("/refuses", post(refuse))
        .route("/commits", post(commit))
        .route("/transactional", post(commit_with_the_key))
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 1, on_duplicate = "wait")]
async fn take_over(
    State(app): State<App>,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, StepError<Infallible>> {
    app.charge(&execution, &new).await?;
    Ok(app.note_booking(new))
}

#[idempotent(
    ttl_seconds = 3600,
    lease_seconds = 1,
    on_duplicate = "wait",
    on_lost = "refuse"
)]
async fn refuse(
    State(app): State<App>,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, StepError<Infallible>> {
    app.charge(&execution, &new).await?;
    Ok(app.note_booking(new))
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 1, on_duplicate = "wait")]
async fn commit(
    State(app): State<App>,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    let charged = app.charge(&execution, &new).await;
    charged.map_err(|error| CommitError::Failed(error.into()))?;
    app.commit_booking(&execution, new).await
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn commit_with_the_key(
    State(app): State<App>,
    execution: Execution,
    Json(new): Json<NewBooking>,
) -> Result<Response, CommitError> {
    app.commit_booking(&execution, new).await
}

impl App {
    /// A step that nothing undoes.
    async fn charge(
        &self,
        execution: &Execution,
        new: &NewBooking,
    ) -> Result<(), StepError<Infallible>> {
        let (app, name) = (self.clone(), new.customer_name.clone());
        let charge = async move {
            app.death.at(Point::BeforeStep);
            app.runs.note("charge", &name);
            app.death.at(Point::AfterStep);
            Ok(())
        };
        execution.step("charge", charge).await
    }

    /// A booking that nothing undoes, and that no step remembers.
    fn note_booking(&self, new: NewBooking) -> Response {
        self.death.at(Point::BeforeBooking);
        self.runs.note("booking", &new.customer_name);
        self.death.at(Point::AfterBooking);
        Booking::of(new).reply().into_response()
    }

    /// A booking that is one commit with the key.
    async fn commit_booking(
        &self,
        execution: &Execution,
        new: NewBooking,
    ) -> Result<Response, CommitError> {
        let booking = Booking::of(new);
        let reply = booking.reply();
        self.death.at(Point::BeforeCommit);
        let reply = self.database.commit(execution, booking, reply).await?;
        self.death.at(Point::AfterCommit);
        Ok(reply)
    }
}

#[async_trait]
impl Hooks for DyingStore {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        Some(&self.store)
    }

    fn encode_outcome(&self, _: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        self.death.at(Point::DuringCommit);
        Ok(outcome)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.death.at(Point::BeforeClaim);
        let claimed = self.store.claim(request).await;
        self.death.at(Point::AfterClaim);
        claimed
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.death.at(Point::BeforeCheckpoint);
        let stored = self.store.checkpoint(hold, progress).await;
        self.death.at(Point::AfterCheckpoint);
        stored
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.death.at(Point::BeforeCompletion);
        let completed = self.store.complete(hold, outcome).await;
        self.death.at(Point::AfterCompletion);
        completed
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.death.at(Point::BeforeLook);
        let found = self.store.inspect(id).await;
        self.death.at(Point::AfterLook);
        found
    }
}
