//! The store, and a judge of what it lets happen.

use std::{collections::HashMap, fmt, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, RecordId, StoreError, Token},
};
use parking_lot::Mutex;
use tests::delegate::Hooks;

use crate::world::World;

/// A store whose every hold is known here.
pub(crate) struct Watched<S> {
    pub(crate) store: S,
    pub(crate) clock: Clock,
    pub(crate) world: World,
    pub(crate) keys: Mutex<HashMap<RecordId, Key>>,
}

/// Who holds a key, and until when as its caller counts; and who has completed it.
#[derive(Debug, Default)]
pub(crate) struct Key {
    holder: Option<(Token, SystemTime)>,
    completed_by: Option<Token>,
}

impl<S: Store> Watched<S> {
    /// Lets the judge see a step of this hold.
    fn sees(&self, hold: &Hold, step: &str, judge: impl FnOnce(&mut Key) -> Option<&'static str>) {
        let operation = operation(hold);
        self.world.note(format!("store: {step} of {operation}"));
        let mut keys = self.keys.lock();
        if let Some(broken) = judge(keys.entry(hold.id).or_default()) {
            self.world.breaks(format!("{operation}: {broken}"));
        }
    }

    /// An end or a renewal of the hold.
    fn sees_owner<T>(&self, hold: &Hold, step: &str, stepped: &Result<IfOwner<T>, StoreError>) {
        if let Ok(IfOwner::Done(_)) = stepped {
            let until = self.clock.now() + hold.lease;
            let ends = step != "renewal" && step != "checkpoint";
            self.sees(hold, step, |key| {
                let is_own = key.holder.is_some_and(|(token, _)| token == hold.token);
                if is_own && ends {
                    key.holder = None;
                } else if is_own && step == "renewal" {
                    key.holder = Some((hold.token, until));
                }
                (!is_own).then_some("a run that had lost its key took a step")
            });
        }
    }
}

fn operation(hold: &Hold) -> &str {
    hold.labels.label().unwrap_or("an unlabelled key")
}

#[async_trait]
impl<S: Store> Hooks for Watched<S> {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let claimed = self.store.claim(request).await;
        if let Ok(Claim::Won { .. }) = claimed {
            let (hold, now) = (request.hold, self.clock.now());
            let mut is_new = false;
            self.sees(hold, "claim", |key| {
                let holder = key.holder.filter(|(token, _)| *token == hold.token);
                is_new = holder.is_none();
                let before = key
                    .holder
                    .replace(holder.unwrap_or((hold.token, now + hold.lease)));
                let is_live = before.is_some_and(|(_, until)| until > now);
                (is_new && is_live).then_some("a second run won the key of one that holds it")
            });
            if is_new {
                self.world.wins(operation(hold));
            }
        }
        claimed
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let withdrawn = self.store.withdraw(hold, fingerprint).await;
        self.sees(hold, "withdrawal", |key| {
            key.holder.take_if(|(token, _)| *token == hold.token);
            None
        });
        withdrawn
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let renewed = self.store.renew(hold).await;
        self.sees_owner(hold, "renewal", &renewed);
        renewed
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let stored = self.store.checkpoint(hold, progress).await;
        self.sees_owner(hold, "checkpoint", &stored);
        stored
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let suspended = self.store.suspend(hold, progress).await;
        // The same call again is done, too, and ends nothing.
        self.sees(hold, "suspension", |key| {
            key.holder.take_if(|(token, _)| *token == hold.token);
            None
        });
        suspended
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let released = self.store.release(hold).await;
        self.sees_owner(hold, "release", &released);
        released
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let completed = self.store.complete(hold, outcome).await;
        if let Ok(IfOwner::Done(_)) = completed {
            let mut is_first = false;
            self.sees(hold, "completion", |key| {
                if key.completed_by == Some(hold.token) {
                    return None;
                }
                is_first = true;
                key.completed_by = Some(hold.token);
                let holder = key.holder.take();
                let is_own = holder.is_some_and(|(token, _)| token == hold.token);
                (!is_own).then_some("a run that had lost its key completed it")
            });
            if is_first {
                self.world.commits(operation(hold));
            }
        }
        completed
    }
}

impl<S> fmt::Debug for Watched<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Watched").finish_non_exhaustive()
    }
}
