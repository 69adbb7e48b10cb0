//! One step of a record: read, decide, change it if it is still what was read, and otherwise read again.

use std::time::{Duration, SystemTime};

use gcloud_sdk::tonic::Status;
use tokio::time::{Instant, sleep};

use super::{
    FirestoreStore, NAME,
    change::{self, Base, Change},
    client::Failure,
    document::{self, Found},
    record_cache::CachedRecord,
};
use crate::{
    record::RecordId,
    store::{Hold, StoreError},
};

/// What was read, for a verb to decide on.
pub(super) struct Look {
    pub(super) found: Option<Found>,
    /// The server's time of the read.
    pub(super) now: SystemTime,
    /// Whether the change may have been made already, by a try whose response was lost.
    pub(super) tried: bool,
}

/// What a verb decides.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub(super) enum Next<T> {
    Answer(T),
    Change(Base, Change),
}

/// No call begins after this time, so that the last one ends before the engine stops waiting.
const RETRY_TIMEOUT: Duration = Duration::from_millis(2500);

/// The pause between two tries, from the second failure on; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_millis(320);

impl FirestoreStore {
    /// Takes a step. `first` is a change to begin with, if no read is needed. Firestore refuses it if the record is not
    /// what the change is based on.
    ///
    /// The step ends with the result of `decide`, or with that of `made`, which receives the time at which the server
    /// made the change. A caller whose step does not end in time learns that the store is unavailable.
    pub(super) async fn step<T>(
        &self,
        id: &RecordId,
        first: Option<(Base, Change)>,
        decide: impl Fn(Look) -> Next<T>,
        made: impl Fn(&Change, SystemTime) -> T,
    ) -> Result<T, StoreError> {
        let give_up = Instant::now() + RETRY_TIMEOUT;
        let mut pause = Duration::ZERO;
        let mut tried = false;
        let mut next = first;
        loop {
            let failure = match next.take() {
                Some((base, change)) => match self.change(id, base, change.clone()).await {
                    Ok(at) => return Ok(made(&change, at)),
                    Err(failure) => {
                        tried |= matches!(failure, Failure::Unknown(_));
                        failure
                    }
                },
                None => match self.look(id).await? {
                    Ok((found, now)) => match decide(Look { found, now, tried }) {
                        Next::Answer(answer) => return Ok(answer),
                        Next::Change(base, change) => {
                            next = Some((base, change));
                            continue;
                        }
                    },
                    Err(failure) => failure,
                },
            };
            let (status, was_sent) = match failure {
                Failure::Refused(status) => {
                    return Err(StoreError::unavailable(status).with_store(NAME));
                }
                Failure::Conflict(status)
                | Failure::Contention(status)
                | Failure::Unknown(status) => (status, true),
                Failure::Unsent(status) => (status, tried),
            };
            if Instant::now() + pause >= give_up {
                let failure = if was_sent {
                    StoreError::unavailable(status)
                } else {
                    StoreError::unreached(status)
                };
                return Err(failure.with_store(NAME));
            }
            sleep(pause).await;
            pause = (2 * pause).clamp(FIRST_PAUSE, MAX_PAUSE);
        }
    }

    /// The record as it is, and the time of the read. A document that cannot be read is an error of its own.
    pub(super) async fn look(
        &self,
        id: &RecordId,
    ) -> Result<Result<(Option<Found>, SystemTime), Failure>, StoreError> {
        let (document, now) = match self.database.0.get(self.name(id)).await {
            Ok(answer) => answer,
            // A missing document is not an error, so this is about the database.
            Err(Failure::Conflict(status)) => return Ok(Err(Failure::Refused(status))),
            Err(failure) => return Ok(Err(failure)),
        };
        let found = document.map(|document| Found::read(id, document));
        let found = found.transpose()?;
        self.record_cache
            .put(id, found.as_ref().map(CachedRecord::from));
        self.wakeups.saw(id, found.as_ref().and_then(Found::owner));
        Ok(Ok((found, now)))
    }

    /// Makes a change, and returns when the server made it.
    async fn change(
        &self,
        id: &RecordId,
        base: Base,
        change: Change,
    ) -> Result<SystemTime, Failure> {
        let write = change
            .clone()
            .write(self.name(id), base, self.database.0.clock.now());
        let result = self.database.0.write(write).await?;
        let without_time = || Failure::Unknown(Status::unknown("a change without a time"));
        let update_time = result.update_time.ok_or_else(without_time)?;
        match &change {
            Change::Checkpoint { token, progress } => {
                self.record_cache
                    .touch(id, token, progress.len(), base, update_time);
                return Ok(self.database.0.clock.now());
            }
            Change::Spend { .. } | Change::Replace { .. } | Change::Erase { .. } => {
                self.record_cache.put(id, Some(CachedRecord::Other));
                return Ok(self.database.0.clock.now());
            }
            _ => {}
        }
        let stepped_at = change::stepped_at(&result).ok_or_else(without_time)?;
        let held = |hold: &Hold, kept, spent| {
            let lease_until = document::after(stepped_at, hold.lease);
            CachedRecord::InFlight {
                token: hold.token,
                lease_until,
                expires_at: document::after(lease_until, hold.ttl),
                kept,
                spent,
                update_time,
            }
        };
        let cached = match change {
            Change::Claim {
                hold,
                progress,
                spent,
                ..
            } => held(&hold, progress.len(), spent),
            // An older read that was noted meanwhile may know fewer spent tokens.
            Change::Renew { hold, kept } => match self.record_cache.get(id) {
                Some(CachedRecord::InFlight {
                    token,
                    spent,
                    update_time,
                    ..
                }) if token == hold.token && base == Base::UpdatedAt(update_time) => {
                    held(&hold, kept, spent)
                }
                _ => CachedRecord::Other,
            },
            Change::Free { token, spent, .. } => CachedRecord::Free {
                spent: spent.with(&token),
                update_time,
            },
            _ => CachedRecord::Other,
        };
        self.record_cache.put(id, Some(cached));
        Ok(stepped_at)
    }

    pub(super) fn name(&self, id: &RecordId) -> String {
        self.database.0.name(&document::id(id))
    }
}
