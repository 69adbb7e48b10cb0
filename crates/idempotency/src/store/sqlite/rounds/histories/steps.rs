//! The steps of random histories.

use std::{any::Any, sync::Arc};

use super::{super::*, KEYS};
use crate::{
    labels::Labels,
    record::ScopeId,
    store::{
        StoreErrorKind,
        transaction::{CommitFailure, EncodeResponse, PendingRecord, Transaction},
    },
};

/// What a caller asks of a store.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Claim(Hold, Fingerprint, OnLost),
    Complete(Hold, Bytes),
    /// In a transaction, whether or not the key was claimed before.
    Commit(Hold, bool, Bytes),
    Release(Hold),
    Renew(Hold),
    Checkpoint(Hold, Bytes),
    Suspend(Hold, Bytes),
    Withdraw(Hold, Fingerprint),
    Resolve(RecordId, Token, Resolution),
    Inspect(RecordId),
    Purge(usize),
}

/// A sequence that a number determines.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    pub(super) fn of<T: Clone>(&mut self, values: &[T]) -> T {
        let number = self.below(values.len().try_into().expect("a small number"));
        values[usize::try_from(number).expect("a small number")].clone()
    }

    pub(super) fn key(&mut self) -> u32 {
        self.below(KEYS).try_into().expect("a small number")
    }

    fn bytes(&mut self) -> Bytes {
        let length = self.of(&[0, 1, 30, 700, 9000]);
        vec![b'x'; length].into()
    }

    fn hold(&mut self, key: u32) -> Hold {
        let token = Token::from_bytes([self.of(&[1, 2, 3]); 16]);
        let lease = Duration::from_secs(self.of(&[1, 30]));
        let year = 366 * 24 * 3600;
        let ttl = Duration::from_millis(1000 * self.of(&[1, 60, 3600, 3 * year]) - self.below(2));
        let labels = Labels::new(self.of(&[None, Some("POST /bookings")]), None);
        Hold::new(id(key), token, lease, ttl)
            .with_scope(ScopeId::from_bytes([self.of(&[1, 2]); 8]))
            .with_labels(labels)
    }

    pub(super) fn step(&mut self, key: u32) -> Step {
        let hold = self.hold(key);
        let asked = Fingerprint::of([self.of(&[b"book".as_slice(), b"cancel"])]);
        match self.below(32) {
            0..12 => Step::Claim(hold, asked, self.of(&[OnLost::TakeOver, OnLost::Refuse])),
            12..16 => Step::Complete(hold, self.bytes()),
            16 | 17 => Step::Commit(hold, self.of(&[true, false]), self.bytes()),
            18 | 19 => Step::Release(hold),
            20 | 21 => Step::Renew(hold),
            22 | 23 => Step::Checkpoint(hold, self.bytes()),
            24 => Step::Suspend(hold, self.bytes()),
            25 => Step::Withdraw(hold, asked),
            26..29 => Step::Resolve(hold.id, hold.token, self.resolution()),
            29 | 30 => Step::Inspect(hold.id),
            _ => Step::Purge(self.of(&[1, 7, usize::MAX])),
        }
    }

    fn resolution(&mut self) -> Resolution {
        let outcome = self.bytes();
        let ttl = Duration::from_secs(self.of(&[60, 3600]));
        match self.below(5) {
            0 => Resolution::Release,
            1 => Resolution::Complete { outcome, ttl },
            2 => Resolution::Replace { outcome },
            3 => Resolution::Erase { outcome },
            _ => Resolution::Forget,
        }
    }
}

/// What a caller learns.
pub(super) async fn take(store: &dyn Store, step: &Step) -> Result<String, StoreErrorKind> {
    let result = match step.clone() {
        Step::Claim(hold, asked, on_lost) => {
            let request = ClaimRequest::new(&hold, &asked, on_lost);
            store.claim(request).await.map(|it| match it {
                // Their debug texts show no bytes.
                Claim::Won { progress, .. } => format!("won {}", progress.len()),
                Claim::Completed { ref outcome, .. } => format!("{it:?} {}", outcome.len()),
                _ => format!("{it:?}"),
            })
        }
        Step::Complete(hold, outcome) => text(store.complete(&hold, outcome).await),
        Step::Commit(hold, is_held, outcome) => {
            let any: &dyn Any = store;
            match any.downcast_ref::<SqliteStore>() {
                Some(store) => return commit(store, hold, is_held, outcome).await,
                None => return commit_in_memory(store, hold, is_held, outcome).await,
            }
        }
        Step::Release(hold) => text(store.release(&hold).await),
        Step::Renew(hold) => text(store.renew(&hold).await),
        Step::Checkpoint(hold, progress) => text(store.checkpoint(&hold, progress).await),
        Step::Suspend(hold, progress) => text(store.suspend(&hold, progress).await),
        Step::Withdraw(hold, asked) => text(store.withdraw(&hold, &asked).await),
        Step::Resolve(id, token, resolution) => text(store.resolve(&id, &token, resolution).await),
        Step::Inspect(id) => text(store.inspect(&id).await),
        // Which records are removed first is not said, nor how long a free key stays.
        Step::Purge(limit) => store.purge_expired(limit).await.map(|_| String::new()),
    };
    result.map_err(|error| error.kind())
}

fn text<T: std::fmt::Debug>(
    result: Result<T, crate::store::StoreError>,
) -> Result<String, crate::store::StoreError> {
    result.map(|value| format!("{value:?}"))
}

/// Work of the application, with the record.
async fn commit(
    store: &SqliteStore,
    hold: Hold,
    is_held: bool,
    outcome: Bytes,
) -> Result<String, StoreErrorKind> {
    let work = |connection: &Connection| {
        connection.execute_batch(
            "create table if not exists bookings (number integer); insert into bookings values (1)",
        )
    };
    let entry = PendingRecord {
        store: Arc::new(store.clone()),
        hold,
        fingerprint: asked(),
        is_held,
    };
    let ending: EncodeResponse<()> = Box::new(move |()| Box::pin(async { Ok(outcome.into()) }));
    let done = store
        .database()
        .transaction(work)
        .commit(Some(entry), ending);
    match done.await {
        Ok(IfOwner::Done(committed)) => Ok(format!("{:?}", committed.expires_at)),
        Ok(IfOwner::NotOwner) => Ok("not the owner".into()),
        Err(CommitFailure::Undone(_)) => Err(StoreErrorKind::Unavailable),
        Err(other) => panic!("{other:?}"),
    }
}

/// The same in steps, between which nothing else happens.
async fn commit_in_memory(
    store: &dyn Store,
    hold: Hold,
    is_held: bool,
    outcome: Bytes,
) -> Result<String, StoreErrorKind> {
    let found = store.inspect(&hold.id).await.expect("an inspection");
    let is_in_flight =
        |record: &crate::store::Record| matches!(record.phase, Phase::InFlight { .. });
    let may_complete = if is_held {
        found.as_ref().is_some_and(is_in_flight)
    } else {
        let asked = asked();
        let request = ClaimRequest::new(&hold, &asked, OnLost::Refuse);
        found.is_none() && store.claim(request).await.is_ok()
    };
    if may_complete && let Ok(IfOwner::Done(expires_at)) = store.complete(&hold, outcome).await {
        return Ok(format!("{:?}", Some(expires_at)));
    }
    Ok("not the owner".into())
}
