//! What the faults of a store of entries change in one step.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use idempotency::{
    Fingerprint,
    store::{ClaimRequest, Entry, Hold, Labels, OnLost, Phase, Record, RecordId, Token},
};

use super::fault::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Claim,
    Withdraw,
    Renew,
    Checkpoint,
    Suspend,
    Complete,
    Release,
    Resolve,
}

/// One call, as the fault changes it.
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) hold: Hold,
    pub(super) now: SystemTime,
}

/// What an entry says, expired or not.
struct Found {
    record: Option<Record>,
    spent: Vec<Token>,
}

impl Found {
    fn in_entry(entry: &Entry, id: &RecordId) -> Self {
        Self {
            record: entry.inspect(id, SystemTime::UNIX_EPOCH),
            spent: entry.spent_tokens(),
        }
    }

    fn owner(&self) -> Option<Token> {
        self.record.as_ref().map(|record| record.token)
    }

    fn is_completed(&self) -> bool {
        let phase = self.record.as_ref().map(|record| &record.phase);
        matches!(phase, Some(Phase::Completed { .. }))
    }

    fn lease_until(&self) -> Option<SystemTime> {
        match self.record.as_ref().map(|record| &record.phase) {
            Some(Phase::InFlight { lease_until, .. }) => Some(*lease_until),
            _ => None,
        }
    }

    fn is_lapsed(&self, now: SystemTime) -> bool {
        self.lease_until().is_some_and(|until| until <= now)
    }

    /// Whether the owner's token is spent.
    fn is_spent(&self) -> bool {
        self.owner()
            .is_some_and(|token| self.spent.contains(&token))
    }
}

/// Whether a store with this fault writes later than it reads.
pub(super) fn is_in_two_steps(fault: Fault, call: &Call, entry: &Entry) -> bool {
    let found = Found::in_entry(entry, &call.hold.id);
    match (fault, call.verb) {
        (Fault::ClaimsInTwoSteps, Verb::Claim) => found.record.is_none(),
        (Fault::TakesOverInTwoSteps, Verb::Claim) => found.is_lapsed(call.now),
        (Fault::ReplacesExpiredRecordsInTwoSteps, Verb::Claim) => {
            found.record.is_some() && entry.is_expired(call.now)
        }
        (Fault::RenewsInTwoSteps, Verb::Renew)
        | (Fault::CheckpointsInTwoSteps, Verb::Checkpoint)
        | (Fault::SuspendsInTwoSteps, Verb::Suspend)
        | (Fault::CompletesInTwoSteps, Verb::Complete)
        | (Fault::ReleasesInTwoSteps, Verb::Release)
        | (Fault::ResolvesInTwoSteps, Verb::Resolve)
        | (Fault::WithdrawsInTwoSteps, Verb::Withdraw) => true,
        _ => false,
    }
}

/// Changes the call, or what it reads.
pub(super) fn before(fault: Fault, call: &mut Call, entry: &mut Entry) {
    let found = Found::in_entry(entry, &call.hold.id);
    let (id, now) = (call.hold.id, call.now);
    let is_own = found.owner() == Some(call.hold.token);
    let is_lapsed = found.is_lapsed(now);
    let is_in_flight = found.lease_until().is_some();
    let is_owners = !matches!(call.verb, Verb::Claim | Verb::Withdraw | Verb::Resolve);
    let owner = found.owner().unwrap_or(call.hold.token);
    let is_stranger = match (fault, call.verb) {
        (Fault::ShutsOutLateOwners, _) => is_owners && is_lapsed,
        (Fault::RefusesItsOwnClaim, Verb::Claim) => is_own && !found.is_spent(),
        (Fault::RefusesARepeatedCompletion, Verb::Complete) => found.is_completed(),
        (Fault::RefusesARepeatedSuspension, Verb::Suspend)
        | (Fault::RefusesToResolveSpentHolds, Verb::Resolve) => found.is_spent(),
        (Fault::ResolvesLapsedHoldsOnly, Verb::Resolve) => is_in_flight && !is_lapsed,
        (Fault::ResolvesLivingHoldsOnly, Verb::Resolve) => is_lapsed,
        _ => false,
    };
    if is_stranger {
        call.hold.token = Token::random();
    }
    match (fault, call.verb) {
        (Fault::GivesEveryHoldOneLease, _) => call.hold.lease = Duration::from_secs(30),
        (Fault::GivesEveryOutcomeOneTtl, _) => call.hold.ttl = Duration::from_secs(3600),
        (Fault::RenewsForAnyToken, Verb::Renew)
        | (Fault::CheckpointsForAnyToken, Verb::Checkpoint)
        | (Fault::SuspendsForAnyToken, Verb::Suspend)
        | (Fault::CompletesForAnyToken, Verb::Complete)
        | (Fault::ReleasesForAnyToken, Verb::Release)
        | (Fault::ResolvesForAnyToken, Verb::Resolve)
        | (Fault::WithdrawsForAnyToken, Verb::Withdraw) => call.hold.token = owner,
        (Fault::WithdrawsLapsedRunsOfOthers, Verb::Withdraw) if is_lapsed => {
            call.hold.token = owner;
        }
        (Fault::RenewsAnAbsentRecord, Verb::Renew) if found.record.is_none() => {
            let asked = Fingerprint::of([b"nothing".as_slice()]);
            let claim = ClaimRequest::new(&call.hold, &asked, OnLost::TakeOver);
            drop(entry.claim(claim, now).reply);
        }
        (Fault::ReleasesACompletedRecord, Verb::Release)
        | (Fault::CompletesTwice, Verb::Complete)
            if found.is_completed() && is_own =>
        {
            rewrite(entry, &id, |record, _| record.phase = in_flight(now));
        }
        (Fault::CountsARepeatedClaim, Verb::Claim) if is_own => {
            rewrite(entry, &id, |record, _| record.attempt += 1);
        }
        (Fault::TakesOverLivingHolds, Verb::Claim) if is_in_flight && !is_own => {
            set_lease(entry, &id, now);
        }
        (Fault::ReplaysExpiredRecords, Verb::Claim) if found.record.is_some() => {
            call.now = just_before(entry.expires_at()).min(now);
        }
        (Fault::RenewsExpiredRecords, _) if is_owners && found.record.is_some() => {
            call.now = just_before(entry.expires_at()).min(now);
        }
        (Fault::ForgetsAbandonedHoldsWithTheirLease, Verb::Claim) if is_lapsed => {
            *entry = Entry::default();
        }
        (Fault::TakesOverWithoutProgress, Verb::Claim) if is_lapsed && !is_own => {
            set_progress(entry, &id, Bytes::new());
        }
        (Fault::TakesShorterProgress, Verb::Checkpoint) if is_own => {
            set_progress(entry, &id, Bytes::new());
        }
        (Fault::FreesAWithdrawnTakeOver, Verb::Withdraw) if is_own => {
            set_progress(entry, &id, Bytes::new());
            rewrite(entry, &id, |record, _| record.attempt = 1);
        }
        (Fault::WithdrawsAgainEachTime, Verb::Withdraw) => forget(entry, &id, &call.hold.token),
        _ => {}
    }
}

/// Changes what the call writes.
pub(super) fn after(fault: Fault, call: &Call, earlier: &Entry, entry: &mut Entry) {
    let found = Found::in_entry(earlier, &call.hold.id);
    let (id, now, hold) = (call.hold.id, call.now, &call.hold);
    let is_own = found.owner() == Some(hold.token);
    let is_in_flight = found.lease_until().is_some();
    let owner = Found::in_entry(entry, &id).owner();
    let is_take_over = call.verb == Verb::Claim
        && !earlier.is_expired(now)
        && is_in_flight
        && owner != found.owner();
    match (fault, call.verb) {
        (Fault::RenewsBeforeItCompares, Verb::Renew) if is_in_flight && !is_own => {
            if let Some(token) = owner {
                let _ = entry.renew(&hold.clone().with_token(token), now);
            }
        }
        (Fault::RenewsNothing, Verb::Renew) | (Fault::WithdrawsNothing, Verb::Withdraw) => {
            *entry = earlier.clone();
        }
        (Fault::ForgetsWithdrawnTokensBesideARun, Verb::Withdraw) if !is_own && is_in_flight => {
            *entry = earlier.clone();
        }
        (Fault::ExtendsTheOldLease, Verb::Renew) => {
            if let Some(until) = found.lease_until() {
                set_lease(entry, &id, until + hold.lease);
            }
        }
        (Fault::SuspendsUntilTheLeaseEnds, Verb::Suspend) => {
            if let Some(until) = found.lease_until() {
                set_lease(entry, &id, until);
            }
        }
        (Fault::RestoresALivingHold, Verb::Withdraw) if is_own => {
            set_lease(entry, &id, now + hold.lease);
        }
        (Fault::ExtendsTheLeaseByACheckpoint, Verb::Checkpoint) => {
            let _ = entry.renew(hold, now);
        }
        (Fault::RenewsWithoutProgress, Verb::Renew) => set_progress(entry, &id, Bytes::new()),
        (Fault::RenewsWithoutSpentTokens, Verb::Renew) => {
            rewrite(entry, &id, |_, spent| spent.clear());
        }
        (Fault::TakesOverWithoutSpentTokens, _) if is_take_over => {
            rewrite(entry, &id, |_, spent| spent.clear());
        }
        (Fault::TakesOverWithNewLabels, _) if is_take_over => {
            rewrite(entry, &id, |record, _| record.labels = hold.labels.clone());
        }
        (Fault::TakesOverWithANewTime, _) if is_take_over => {
            rewrite(entry, &id, |record, _| record.created_at = Some(now));
        }
        (Fault::CompletesWithoutATime, Verb::Complete) => {
            rewrite(entry, &id, |record, _| record.completed_at = None);
        }
        (Fault::KeepsAbandonedHolds, Verb::Claim | Verb::Renew) => {
            let century = Duration::from_secs(100 * 365 * 86_400);
            rewrite(entry, &id, |record, _| record.expires_at = now + century);
        }
        (Fault::ExtendsTheTtlByAReplay, Verb::Claim) if found.is_completed() => {
            rewrite(entry, &id, |record, _| record.expires_at = now + hold.ttl);
        }
        (Fault::CountsTheTtlFromTheClaim, Verb::Complete) => rewrite(entry, &id, |record, _| {
            record.expires_at = record.created_at.unwrap_or(now) + hold.ttl;
        }),
        (Fault::KeepsTheTtlOfTheClaim, Verb::Complete) => {
            let ttl = found
                .lease_until()
                .map(|until| earlier.expires_at().duration_since(until));
            if let Some(Ok(ttl)) = ttl {
                rewrite(entry, &id, |record, _| record.expires_at = now + ttl);
            }
        }
        (Fault::ReleasesByLapsing, Verb::Release)
        | (Fault::LapsesAWithdrawnFirstClaim, Verb::Withdraw)
            if is_in_flight && is_own =>
        {
            *entry = earlier.clone();
            set_lease(entry, &id, now);
            rewrite(entry, &id, |_, spent| spent.insert(0, hold.token));
        }
        (Fault::ResolvesForTheOldOwner, Verb::Resolve) if is_own => {
            rewrite(entry, &id, |record, _| record.token = hold.token);
        }
        (Fault::ExtendsTheTtlByAReplacement, Verb::Resolve) if found.is_completed() => {
            rewrite(entry, &id, |record, _| record.expires_at = now + hold.ttl);
        }
        (Fault::ErasesNoLabel, Verb::Resolve) => rewrite(entry, &id, |record, _| {
            record.labels = found.record.map_or(Labels::default(), |found| found.labels);
        }),
        (Fault::ErasesTheRouteToo, Verb::Resolve) if found.is_completed() => {
            rewrite(entry, &id, |record, _| record.labels = Labels::default());
        }
        (Fault::RemembersOneSpentToken, _) => {
            for token in entry.spent_tokens().iter().skip(1) {
                forget(entry, &id, token);
            }
        }
        _ => {}
    }
}

/// After which time a store with this fault has forgotten that the call spent its token.
pub(super) fn forgets_after(fault: Fault, call: &Call, earlier: &Entry) -> Option<Duration> {
    let found = Found::in_entry(earlier, &call.hold.id);
    let (is_first, lease) = (
        found.record.is_none_or(|found| found.attempt == 1),
        call.hold.lease,
    );
    match (fault, call.verb) {
        (Fault::ForgetsWithdrawnTokens, Verb::Withdraw)
        | (Fault::ForgetsReleasedTokens, Verb::Release)
        | (Fault::ForgetsSuspendedTokens, Verb::Suspend) => Some(Duration::ZERO),
        (Fault::ForgetsTokensThatOperatorsRelease, Verb::Resolve) => {
            Found::in_entry(earlier, &call.hold.id)
                .lease_until()
                .map(|_| Duration::ZERO)
        }
        (Fault::ForgetsTokensOfForgottenRecords, Verb::Resolve) => {
            let is_completed = Found::in_entry(earlier, &call.hold.id).is_completed();
            is_completed.then_some(Duration::ZERO)
        }
        (Fault::ForgetsWithdrawnTokensAfterALease, Verb::Withdraw) => is_first.then_some(lease),
        (Fault::ForgetsWithdrawnSuccessorsEarly, Verb::Withdraw) => (!is_first).then_some(lease),
        (Fault::ForgetsReleasedTokensEarly, Verb::Release) => Some(lease / 2),
        (Fault::ForgetsSuspendedTokensEarly, Verb::Suspend)
        | (Fault::ForgetsWhatOperatorsSpentEarly, Verb::Resolve) => Some(lease),
        _ => None,
    }
}

/// Forgets that this token is spent.
pub(super) fn forget(entry: &mut Entry, id: &RecordId, token: &Token) {
    let mut spent = entry.spent_tokens();
    spent.retain(|spent| spent != token);
    *entry = match Found::in_entry(entry, id).record {
        Some(record) => Entry::from_record(record, &spent),
        None => Entry::of_free_key(&spent, entry.expires_at()),
    };
}

fn rewrite(entry: &mut Entry, id: &RecordId, change: impl FnOnce(&mut Record, &mut Vec<Token>)) {
    let Found { record, mut spent } = Found::in_entry(entry, id);
    if let Some(mut record) = record {
        change(&mut record, &mut spent);
        *entry = Entry::from_record(record, &spent);
    }
}

fn set_lease(entry: &mut Entry, id: &RecordId, until: SystemTime) {
    rewrite(entry, id, |record, _| {
        if let Phase::InFlight { lease_until, .. } = &mut record.phase {
            *lease_until = until;
        }
    });
}

fn set_progress(entry: &mut Entry, id: &RecordId, new: Bytes) {
    rewrite(entry, id, |record, _| {
        if let Phase::InFlight { progress, .. } = &mut record.phase {
            *progress = new;
        }
    });
}

fn in_flight(lease_until: SystemTime) -> Phase {
    let progress = Bytes::new();
    Phase::InFlight {
        lease_until,
        progress,
    }
}

fn just_before(time: SystemTime) -> SystemTime {
    time - Duration::from_millis(1)
}
