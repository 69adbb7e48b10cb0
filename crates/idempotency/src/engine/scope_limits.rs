//! Limits how fast each scope uses new keys, and how many of its keys live.
//!
//! Both are counted in this process, so they hold with every store and cost no call of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Persist;
use crate::{Rejection, record::ScopeId};

/// An engine's limits, and how much of them each scope has used.
pub(super) struct ScopeLimits {
    rate: Option<Rate>,
    max_live: Option<usize>,
    started: Instant,
    // A plain lock: nothing is awaited under it.
    scopes: Mutex<Scopes>,
}

/// How many new keys a scope may use in a given time.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    /// The time by which one key uses up the rate.
    every: Duration,
    /// For how long the rate may be used up in advance.
    per: Duration,
}

#[derive(Default)]
struct Scopes {
    taken: HashMap<ScopeId, Taken>,
    /// When there are this many scopes, idle ones are removed.
    tidied_at: usize,
}

/// What a scope has taken.
struct Taken {
    /// Until when its rate is used up: the theoretical arrival time of the generic cell rate algorithm.
    used_until: Instant,
    /// Keys that are being claimed, and keys whose runs go on.
    under_way: usize,
    /// Keys that are stored, by the second of their end, counted from the engine's start.
    stored: BTreeMap<u64, usize>,
}

/// Permission to use one more key. If the key turns out to be old, or its run does not begin, dropping this gives the permission back.
pub(super) struct Admission {
    limits: Arc<ScopeLimits>,
    scope: ScopeId,
    /// How far it advanced the rate. Time that has passed when this is dropped is not given back.
    used_until: Instant,
    is_used: bool,
    /// Until which second the store keeps what the run has left.
    stored_until: Option<u64>,
}

/// How many different ends are told apart within one ttl. Records that end close together are counted as one entry, until the
/// last of them has ended.
const ENDS_PER_TTL: u64 = 64;

/// A rate for a longer time is one for this time: ten years.
const MAX_SPAN: Duration = Duration::from_secs(315_360_000);

/// Below this number of scopes none is removed.
const FEW_SCOPES: usize = 1024;

impl Rate {
    pub(super) fn new(max: u32, per: Duration) -> Self {
        let per = per.min(MAX_SPAN);
        let every = per / max;
        Self {
            every: every.max(Duration::from_nanos(1)),
            per,
        }
    }
}

impl ScopeLimits {
    /// `None` if scopes have no limit.
    pub(super) fn new(rate: Option<Rate>, max_live: Option<usize>) -> Option<Arc<Self>> {
        if rate.is_none() && max_live.is_none() {
            return None;
        }
        Some(Arc::new(Self {
            rate,
            max_live,
            started: Instant::now(),
            scopes: Mutex::default(),
        }))
    }

    /// Whether the rate of new keys is limited.
    #[cfg(feature = "axum")]
    pub(super) const fn have_rate(&self) -> bool {
        self.rate.is_some()
    }

    /// Lets the scope use one more key, if it is below both limits.
    pub(super) fn admit(limits: &Arc<Self>, scope: ScopeId) -> Result<Admission, Rejection> {
        let now = Instant::now();
        let mut scopes = limits.scopes.lock();
        scopes.tidy(limits.second(now), now);
        let taken = scopes.taken.entry(scope).or_insert_with(|| Taken::new(now));
        taken.forget(limits.second(now));
        if limits.max_live.is_some_and(|max| taken.live() >= max) {
            let first = taken.stored.keys().next();
            let seconds = first.map_or(0, |&end| end.saturating_sub(limits.second(now)));
            let retry_after = Duration::from_secs(seconds);
            return Err(Rejection::TooManyLiveKeys { retry_after });
        }
        if let Some(rate) = limits.rate {
            let used_until = taken.used_until.max(now) + rate.every;
            let ahead = used_until - now;
            if ahead > rate.per {
                let retry_after = ahead - rate.per;
                return Err(Rejection::TooManyNewKeys { retry_after });
            }
            taken.used_until = used_until;
        }
        taken.under_way += 1;
        let used_until = taken.used_until;
        drop(scopes);
        Ok(Admission {
            limits: Arc::clone(limits),
            scope,
            used_until,
            is_used: false,
            stored_until: None,
        })
    }

    fn second(&self, at: Instant) -> u64 {
        (at - self.started).as_secs()
    }

    /// The second at which a record no longer counts that is stored now for this long. It is at or after the record's end.
    fn end(&self, ttl: Duration) -> u64 {
        let step = (ttl.as_secs() / ENDS_PER_TTL).max(1);
        let end = self.second(Instant::now()).saturating_add(ttl.as_secs());
        (end / step).saturating_add(1).saturating_mul(step)
    }
}

impl Scopes {
    /// Removes the scopes that have nothing any more, once there are twice as many as after the last time.
    fn tidy(&mut self, second: u64, now: Instant) {
        if self.taken.len() < self.tidied_at.max(FEW_SCOPES) {
            return;
        }
        self.taken.retain(|_, taken| {
            taken.forget(second);
            taken.live() > 0 || taken.used_until > now
        });
        self.tidied_at = self.taken.len().saturating_mul(2);
    }
}

impl Taken {
    const fn new(now: Instant) -> Self {
        Self {
            used_until: now,
            under_way: 0,
            stored: BTreeMap::new(),
        }
    }

    /// Leaves out the records that have ended by this second.
    fn forget(&mut self, second: u64) {
        while let Some(first) = self.stored.first_entry()
            && *first.key() <= second
        {
            first.remove();
        }
    }

    fn live(&self) -> usize {
        self.under_way + self.stored.values().sum::<usize>()
    }
}

impl Admission {
    /// Notes that the key's run begins.
    pub(super) const fn use_up(&mut self) {
        self.is_used = true;
    }

    /// Counts what the run leaves for as long as the store keeps it: for the `ttl`, unless it has a ttl of its own.
    pub(super) fn settle(mut self, persist: Persist, ttl: Duration) -> Persist {
        match persist {
            Persist::Nothing => {}
            // Another future decides later.
            Persist::AfterSteps(settled) => {
                return Persist::AfterSteps(Box::pin(async move {
                    let persist = settled.await;
                    self.settle(persist, ttl)
                }));
            }
            Persist::Outcome(ref outcome) => self.keep(outcome.ttl.unwrap_or(ttl)),
            Persist::AlreadyCommitted(ends_at) => {
                let own = ends_at.duration_since(SystemTime::now());
                self.keep(own.unwrap_or_default().max(ttl));
            }
            // The record is another run's by now, or it may be there.
            Persist::Steps(_) | Persist::Superseded | Persist::OutcomeUnknown => self.keep(ttl),
        }
        persist
    }

    fn keep(&mut self, ttl: Duration) {
        self.stored_until = self.limits.max_live.map(|_| self.limits.end(ttl));
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut scopes = self.limits.scopes.lock();
        let Some(taken) = scopes.taken.get_mut(&self.scope) else {
            return;
        };
        taken.under_way -= 1;
        if let Some(end) = self.stored_until {
            *taken.stored.entry(end).or_default() += 1;
        }
        if let Some(rate) = self.limits.rate
            && !self.is_used
        {
            let left = self.used_until.saturating_duration_since(Instant::now());
            if let Some(used_until) = taken.used_until.checked_sub(left.min(rate.every)) {
                taken.used_until = used_until;
            }
        }
    }
}
