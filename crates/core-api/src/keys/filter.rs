//! Which keys a list shows, or a change applies to.

use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use idempotency::{
    Idempotency,
    operators::KeyState,
    store::{ListRequest, Listed, ListedPhase, Phase, Record, RecordId, StoreError},
};

/// An age: a number and a unit, such as `10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

/// The conditions that a key must meet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) phase: Option<WantedPhase>,
    pub(crate) older_than: Option<Age>,
    /// The label as records store it: one of these, if any are given. While the secret is being changed, a subject has two.
    pub(crate) labels: Vec<Arc<str>>,
    pub(crate) route: Option<Box<str>>,
}

/// The phase that a key must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WantedPhase {
    /// Its run has not ended.
    InFlight,
    /// Its run has not ended, its lease has expired, and it was not suspended.
    Stuck,
    /// Its run failed after completing steps, and the next run resumes after them.
    Suspended,
    Completed,
}

/// The position in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Start,
    After(RecordId),
    End,
}

/// How many records are read at once. Each may have a response of a megabyte.
const READ_AT_ONCE: usize = 32;

impl Filter {
    /// The next of these keys, including unreadable ones; an empty result means the end of the list.
    pub(crate) async fn next(
        &self,
        idempotency: &Idempotency,
        position: &mut Position,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut request = ListRequest::new(READ_AT_ONCE);
        request.phase = self.phase.map(WantedPhase::listed);
        if let Some(Age(age)) = self.older_than {
            // Nothing is older than the earliest time that a clock can show.
            let before = SystemTime::now().checked_sub(age);
            request = request.created_before(before.unwrap_or(SystemTime::UNIX_EPOCH));
        }
        loop {
            match *position {
                Position::Start => {}
                Position::After(last) => request = request.after(last),
                Position::End => return Ok(Vec::new()),
            }
            let mut listed = self.read(idempotency, &request).await?;
            *position = match listed.last() {
                Some(last) => Position::After(last.id),
                None => Position::End,
            };
            listed.retain(|listed| self.is_wanted(listed));
            if !listed.is_empty() {
                return Ok(listed);
            }
        }
    }

    /// The next keys with any of the labels, in the order of their ids.
    async fn read(
        &self,
        idempotency: &Idempotency,
        request: &ListRequest,
    ) -> Result<Vec<Listed>, StoreError> {
        if self.labels.is_empty() {
            return idempotency.store().list(request).await;
        }
        let mut all = Vec::new();
        for label in &self.labels {
            let of_label = request.clone().labelled(label);
            all.extend(idempotency.store().list(&of_label).await?);
        }
        all.sort_by_key(|listed| *listed.id.as_bytes());
        // An unreadable record may be listed once for each label.
        all.dedup_by_key(|listed| listed.id);
        all.truncate(request.limit);
        Ok(all)
    }

    /// Whether releasing what the filter finds must skip this key: after the release of a suspended key its next run repeats its
    /// steps, so suspended keys are released only if the operator asks for them explicitly.
    pub(crate) fn spares(&self, record: &Record) -> bool {
        is_suspended(record) && self.phase != Some(WantedPhase::Suspended)
    }

    /// The conditions that stores do not check themselves.
    fn is_wanted(&self, listed: &Listed) -> bool {
        let Ok(record) = &listed.record else {
            return true;
        };
        let is_in_phase = match self.phase {
            Some(WantedPhase::Stuck) => !is_suspended(record),
            Some(WantedPhase::Suspended) => is_suspended(record),
            _ => true,
        };
        let route = self.route.as_deref();
        is_in_phase && route.is_none_or(|route| record.labels.route() == Some(route))
    }
}

impl WantedPhase {
    /// Its name in a query.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in-flight",
            Self::Stuck => "stuck",
            Self::Suspended => "suspended",
            Self::Completed => "completed",
        }
    }

    /// The phase with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::InFlight,
            Self::Stuck,
            Self::Suspended,
            Self::Completed,
        ];
        all.into_iter().find(|phase| phase.name() == name)
    }

    const fn listed(self) -> ListedPhase {
        match self {
            Self::InFlight => ListedPhase::InFlight,
            Self::Stuck | Self::Suspended => ListedPhase::Lapsed,
            Self::Completed => ListedPhase::Completed,
        }
    }
}

/// Whether the next run resumes after completed steps. The lease is by the store's clock, so this machine's clock is not used.
fn is_suspended(record: &Record) -> bool {
    match &record.phase {
        Phase::InFlight { lease_until, .. } => {
            KeyState::of(record, *lease_until) == KeyState::Suspended
        }
        _ => false,
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = match text.as_bytes().last() {
            Some(b's') => Some(1),
            Some(b'm') => Some(60),
            Some(b'h') => Some(3600),
            Some(b'd') => Some(24 * 3600),
            _ => None,
        };
        let number = text.get(..text.len().saturating_sub(1));
        // `parse` also accepts a sign.
        let number = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let seconds = unit.and_then(|unit| number?.checked_mul(unit));
        seconds
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| "expected a number and s, m, h or d, such as 10m".into())
    }
}

#[cfg(test)]
mod tests {
    use idempotency::{
        Execution, Fingerprint, IdempotencyKey, MemoryStore, OnLost, Options, Scope,
        store::{ClaimRequest, Hold, Token},
    };

    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        for (text, seconds) in [("0s", 0), ("10m", 600), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(text.parse(), Ok(Age(Duration::from_secs(seconds))));
        }
        for text in [
            "",
            "m",
            "10",
            "+1m",
            "-1m",
            "1.5h",
            "10 m",
            "1w",
            "99999999999999999999s",
            "1é",
        ] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }

    // proves: suspended-not-stuck
    #[tokio::test]
    async fn a_run_that_failed_after_a_step_is_suspended_and_not_stuck() {
        let idempotency = Idempotency::new(MemoryStore::new());
        let (scope, key) = (Scope::anonymous(), IdempotencyKey::new("k").unwrap());
        let asked = Fingerprint::of([b"x".as_slice()]);
        let work = async |execution: Execution| {
            let step = execution.step("charge", async { Ok::<_, ()>(1) });
            drop(step.await);
            Err::<u8, ()>(())
        };
        let options = Options::new();
        let run = idempotency.run_with(&options, &scope, &key, asked, work);
        assert!(run.await.is_err());
        let lost = IdempotencyKey::new("lost").unwrap();
        let lost = idempotency.record_id(&scope, &lost);
        let hold = Hold::new(
            lost,
            Token::random(),
            Duration::ZERO,
            Duration::from_secs(60),
        );
        let claim = ClaimRequest::new(&hold, &asked, OnLost::TakeOver);
        idempotency.store().claim(claim).await.unwrap();
        let suspended = idempotency.record_id(&scope, &key);
        for (phase, mut expected) in [
            (WantedPhase::Stuck, vec![lost]),
            (WantedPhase::Suspended, vec![suspended]),
            (WantedPhase::InFlight, vec![lost, suspended]),
            (WantedPhase::Completed, vec![]),
        ] {
            let filter = Filter {
                phase: Some(phase),
                ..Filter::default()
            };
            let found = filter.next(&idempotency, &mut Position::Start).await;
            let found: Vec<_> = found.unwrap().iter().map(|listed| listed.id).collect();
            expected.sort_by_key(|id| *id.as_bytes());
            assert_eq!(found, expected, "{phase:?}");
            let record = idempotency.store().inspect(&suspended).await.unwrap();
            let is_spared = filter.spares(&record.unwrap());
            assert_eq!(is_spared, phase != WantedPhase::Suspended, "{phase:?}");
        }
    }
}
