//! How a key is claimed, and how a claim is withdrawn.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{
    FirestoreStore,
    change::{Base, Change, Origin},
    step::{Look, Next},
};
use crate::{
    Fingerprint, OnLost,
    record::Phase,
    store::{Claim, Hold, StoreError, spent::SpentTokens},
};

impl FirestoreStore {
    pub(super) async fn claim_step(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claim, StoreError> {
        let change = |attempt, progress, spent, origin| Change::Claim {
            hold: hold.clone(),
            fingerprint: *fingerprint,
            attempt,
            progress,
            spent,
            origin,
        };
        let anew = |spent| change(1, Bytes::new(), spent, Origin::Own);
        let remembered = self.remembered_free(&hold.id, &hold.token);
        let is_unmet = matches!(remembered, Some((Base::Absent, _)));
        let existed = AtomicBool::new(false);
        // In each order it ends with a change that Firestore makes only if the document is still what the change is based on,
        // or with what a read found. Each of the two is one moment of the server's, at which the claim takes effect.
        let first = remembered.filter(|_| !is_unmet || !self.unmet_keys.probably_exist());
        let first = first.map(|(base, spent)| (base, anew(spent)));
        let decide = |look: Look| {
            let Some(found) = look.found else {
                return Next::Change(Base::Absent, anew(SpentTokens::default()));
            };
            existed.store(true, Ordering::Relaxed);
            let base = Base::UpdatedAt(found.update_time);
            if found.record.expires_at <= look.now {
                return Next::Change(base, anew(SpentTokens::default()));
            }
            if found.is_spent(&hold.token) {
                return Next::Answer(Err(StoreError::withdrawn()));
            }
            let spent = found.spent_tokens();
            if found.is_free() {
                return Next::Change(base, anew(spent));
            }
            let may_be_taken = found.may_be_taken(fingerprint, look.now);
            let record = found.record;
            let fingerprint = record.fingerprint;
            Next::Answer(Ok(match record.phase {
                Phase::Completed { outcome } => Claim::Completed {
                    fingerprint,
                    outcome,
                    expires_at: record.expires_at,
                },
                Phase::InFlight { progress, .. } if record.token == hold.token => Claim::Won {
                    attempt: record.attempt,
                    progress,
                },
                Phase::InFlight { progress, .. } if may_be_taken => match on_lost {
                    OnLost::TakeOver => {
                        let attempt = record.attempt.saturating_add(1);
                        let origin = Origin::TakenOver {
                            created_at: record.created_at,
                            labels: record.labels,
                        };
                        return Next::Change(base, change(attempt, progress, spent, origin));
                    }
                    OnLost::Refuse => Claim::Unknown { fingerprint },
                },
                Phase::InFlight { .. } => Claim::InFlight { fingerprint },
            }))
        };
        let made = |change: &Change, _| match change {
            Change::Claim {
                attempt, progress, ..
            } => Ok(Claim::Won {
                attempt: *attempt,
                progress: progress.clone(),
            }),
            _ => unreachable!("a claim makes no other change"),
        };
        let claimed = self.step(&hold.id, first, decide, made).await?;
        if is_unmet {
            self.unmet_keys.note(existed.into_inner());
        }
        claimed
    }

    /// A claim that is still in flight finds another document than it is based on, or its own token in it.
    pub(super) async fn withdraw_claim(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<(), StoreError> {
        let spent_for = hold.lease.saturating_add(hold.ttl);
        let mark = |spent, spent_for| Change::Free {
            token: hold.token,
            spent,
            fingerprint: Some(*fingerprint),
            spent_for,
        };
        let free = || mark(SpentTokens::default(), spent_for);
        // The mark of a free key holds more than is remembered of it.
        let is_new = self.record_cache.get(&hold.id).is_none();
        let first = is_new.then(|| (Base::Absent, free()));
        let decide = |look: Look| {
            let Some(found) = look.found else {
                return Next::Change(Base::Absent, free());
            };
            let base = Base::UpdatedAt(found.update_time);
            let Ok(remaining) = found.record.expires_at.duration_since(look.now) else {
                return Next::Change(base, free());
            };
            if remaining.is_zero() {
                return Next::Change(base, free());
            }
            if found.is_spent(&hold.token) {
                return Next::Answer(());
            }
            if found.is_free() {
                return Next::Change(base, mark(found.spent_tokens(), spent_for.max(remaining)));
            }
            if found.is_held_by(&hold.token) {
                let spent = found.spent;
                let attempt = found.record.attempt;
                return match found.record.phase {
                    Phase::InFlight { progress, .. } if attempt == 1 && progress.is_empty() => {
                        Next::Change(base, mark(spent, spent_for.max(remaining)))
                    }
                    _ => Next::Change(
                        base,
                        Change::Withdraw {
                            attempt: (attempt - 1).max(1),
                            ttl: hold.ttl,
                        },
                    ),
                };
            }
            // The claim may yet arrive, perhaps when this run is lost or its key is free.
            if found.is_in_flight() {
                let spent = found.spent.with(&hold.token);
                Next::Change(base, Change::Spend { spent })
            } else {
                Next::Answer(())
            }
        };
        self.step(&hold.id, first, decide, |_, _| ()).await?;
        self.wakeups.wake(&hold.id);
        Ok(())
    }
}
