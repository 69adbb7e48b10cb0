//! The steps of a record that only the owner of its hold can take.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{
    FirestoreStore, MAX_OUTCOME,
    change::{Base, Change},
    document::{self, Found},
    record_cache::CachedRecord,
    step::{Look, Next},
};
use crate::{
    record::{RecordId, Token},
    store::{Hold, IfOwner, StoreError, check_length, spent::SpentTokens},
};

impl FirestoreStore {
    /// What the document of this hold must be, if it is remembered and its owner certainly still holds it.
    pub(super) fn remembered(&self, id: &RecordId, owner: &Token) -> Option<Base> {
        self.remembered_hold(id, owner).map(|held| held.base)
    }

    fn remembered_hold(&self, id: &RecordId, owner: &Token) -> Option<Held> {
        match self.record_cache.get(id)? {
            CachedRecord::InFlight {
                token,
                lease_until,
                expires_at,
                kept,
                spent,
                update_time,
            } if token == *owner && self.database.0.clock.now() < lease_until => Some(Held {
                base: Base::UpdatedAt(update_time),
                kept,
                spent,
                expires_at,
            }),
            _ => None,
        }
    }

    /// What the document of this key must be, unless what is remembered shows that this token cannot have it; and the
    /// spent tokens that the claim keeps.
    pub(super) fn remembered_free(
        &self,
        id: &RecordId,
        asking: &Token,
    ) -> Option<(Base, SpentTokens)> {
        match self.record_cache.get(id) {
            // Most keys are new, and most of the others are remembered. A wrong guess costs one more call.
            None => Some((Base::Absent, SpentTokens::default())),
            Some(CachedRecord::Free { spent, update_time }) if !spent.contains(asking) => {
                Some((Base::UpdatedAt(update_time), spent))
            }
            Some(_) => None,
        }
    }

    /// Wakes the waiters of this record in this process, if its hold has ended.
    fn wake<T>(&self, id: &RecordId, fenced: &IfOwner<T>) {
        if matches!(fenced, IfOwner::Done(_)) {
            self.wakeups.wake(id);
        }
    }

    /// Changes a hold that its owner keeps, by the change that follows from the length of its progress, if any.
    pub(super) async fn renew_with(
        &self,
        hold: &Hold,
        change: impl Fn(usize) -> Option<Change>,
    ) -> Result<IfOwner<()>, StoreError> {
        let first = self.remembered_hold(&hold.id, &hold.token);
        let first = first.and_then(|held| Some((held.base, change(held.kept)?)));
        let decide = |look: Look| match look.living() {
            Some(found) if found.is_held_by(&hold.token) => match change(found.progress().len()) {
                Some(change) => Next::Change(Base::UpdatedAt(found.update_time), change),
                None => Next::Answer(IfOwner::Done(())),
            },
            _ => Next::Answer(IfOwner::NotOwner),
        };
        let made = |_: &Change, _| IfOwner::Done(());
        self.step(&hold.id, first, decide, made).await
    }

    /// Ends a hold with its progress, from which the next claim continues.
    pub(super) async fn suspend_hold(
        &self,
        hold: &Hold,
        progress: Bytes,
    ) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        let change = |kept| Change::Suspend {
            progress: (progress.len() >= kept).then(|| progress.clone()),
            ttl: hold.ttl,
        };
        let first = self.remembered_hold(&hold.id, &hold.token);
        let first = first.map(|held| (held.base, change(held.kept)));
        let decide = |look: Look| {
            let tried = look.tried;
            match look.living() {
                Some(found) if found.is_held_by(&hold.token) => {
                    let change = change(found.progress().len());
                    Next::Change(Base::UpdatedAt(found.update_time), change)
                }
                // The same call again, whose response was lost.
                Some(found) if found.is_withdrawn && found.record.token == hold.token => {
                    Next::Answer(Ok(IfOwner::Done(())))
                }
                // Another claim may have taken over since the first try.
                _ if tried => Next::Answer(Err(may_be_taken())),
                _ => Next::Answer(Ok(IfOwner::NotOwner)),
            }
        };
        let made = |_: &Change, _| Ok(IfOwner::Done(()));
        let suspended = self.step(&hold.id, first, decide, made).await??;
        self.wake(&hold.id, &suspended);
        Ok(suspended)
    }

    /// Ends a hold with an outcome.
    pub(super) async fn complete_as(
        &self,
        id: &RecordId,
        author: Author,
        outcome: Bytes,
        ttl: Duration,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        check_length(&outcome, MAX_OUTCOME)?;
        let token = match author {
            Author::Owner(token) => token,
            // A new token: the owner that was given up can complete nothing any more, not even "again".
            Author::Operator { .. } => Token::random(),
        };
        let change = Change::Complete {
            token,
            outcome,
            ttl,
        };
        let first = self
            .remembered(id, author.token())
            .map(|base| (base, change.clone()));
        let decide = |look: Look| {
            let tried = look.tried;
            match look.living() {
                Some(found) if author.may_end(&found) => {
                    Next::Change(Base::UpdatedAt(found.update_time), change.clone())
                }
                // The same call again, whose response was lost.
                Some(found) if found.is_completed_by(&token) => {
                    Next::Answer(Ok(IfOwner::Done(found.record.expires_at)))
                }
                // What the first try wrote may be gone again.
                _ if tried && matches!(author, Author::Operator { .. }) => {
                    Next::Answer(Err(may_be_taken()))
                }
                _ => Next::Answer(Ok(IfOwner::NotOwner)),
            }
        };
        let made = |_: &Change, at| Ok(IfOwner::Done(document::after(at, ttl)));
        let kept = self.step(id, first, decide, made).await??;
        self.wake(id, &kept);
        Ok(kept)
    }

    /// Ends a hold without an outcome, and keeps its token spent for this long.
    pub(super) async fn release_as(
        &self,
        id: &RecordId,
        author: Author,
        spent_for: Duration,
    ) -> Result<IfOwner<()>, StoreError> {
        let change = |spent: SpentTokens, expires_at: SystemTime, now| {
            // Other spent tokens are remembered for as long as before.
            let remaining = expires_at.duration_since(now).unwrap_or_default();
            Change::Free {
                token: *author.token(),
                spent_for: if spent.is_empty() {
                    spent_for
                } else {
                    spent_for.max(remaining)
                },
                spent,
                fingerprint: None,
            }
        };
        let first = self.remembered_hold(id, author.token()).map(|held| {
            let now = self.database.0.clock.now();
            (held.base, change(held.spent, held.expires_at, now))
        });
        let decide = |look: Look| {
            let (tried, now) = (look.tried, look.now);
            match look.living() {
                Some(found) if author.may_end(&found) => {
                    let base = Base::UpdatedAt(found.update_time);
                    Next::Change(base, change(found.spent, found.record.expires_at, now))
                }
                // It existed when this call began, and this call asked for its end.
                None if tried => Next::Answer(Ok(IfOwner::Done(()))),
                // Another claim may have taken the key since the first try freed it.
                Some(_) if tried => Next::Answer(Err(may_be_taken())),
                _ => Next::Answer(Ok(IfOwner::NotOwner)),
            }
        };
        let freed = self
            .step(id, first, decide, |_, _| Ok(IfOwner::Done(())))
            .await??;
        self.wake(id, &freed);
        Ok(freed)
    }
}

pub(super) fn may_be_taken() -> StoreError {
    StoreError::unavailable(
        "the call had no response, and the key has changed since; the step may have been taken",
    )
}

/// What is remembered of a hold.
struct Held {
    base: Base,
    kept: usize,
    spent: SpentTokens,
    expires_at: SystemTime,
}

/// The author of the end of a hold.
#[derive(Clone, Copy)]
pub(super) enum Author {
    Owner(Token),
    /// An operator who has seen the hold, which may be what is left after a claim was withdrawn.
    Operator {
        seen: Token,
    },
}

impl Author {
    fn token(&self) -> &Token {
        match self {
            Self::Owner(token) | Self::Operator { seen: token } => token,
        }
    }

    fn may_end(&self, found: &Found) -> bool {
        match self {
            Self::Owner(token) => found.is_held_by(token),
            Self::Operator { seen } => found.is_in_flight() && found.record.token == *seen,
        }
    }
}

impl Look {
    /// The record, unless it has expired or only remembers spent tokens.
    pub(super) fn living(self) -> Option<Found> {
        self.found
            .filter(|found| found.record.expires_at > self.now && !found.is_free())
    }
}
