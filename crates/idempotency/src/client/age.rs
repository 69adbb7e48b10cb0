//! Whether a key may have expired: with an expired key the operation would happen once more.

use std::time::Duration;

use super::{intent_record::IntentRecord, moment::Moment};

/// By how much the wall clock may have been set back since an earlier process wrote down the time.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// The dates of HTTP have no fractions of a second.
const ROUNDING: Duration = Duration::from_secs(1);

/// Whether an attempt that takes this long reaches the service while it surely knows the key.
///
/// The service counts its ttl from the end of the first run, which is later than the intent's beginning.
pub(super) fn is_safe(
    record: &IntentRecord,
    now: Moment,
    attempt: Duration,
    ttl: Duration,
) -> bool {
    let (since, by_both_clocks, lifetime) = match &record.expiry {
        Some(expiry) => {
            let lifetime = expiry.expires_at.duration_since(expiry.told_at);
            let lifetime = lifetime.unwrap_or_default().saturating_sub(ROUNDING);
            (expiry.told_at, expiry.told_here, lifetime)
        }
        None => (record.begun_at, record.begun_here, ttl),
    };
    let age = if let Some(earlier) = by_both_clocks {
        now.since(earlier)
    } else {
        let skew = CLOCK_SKEW.min(lifetime / 10);
        // After a clock was set back by more, the age is not known.
        if now.wall + skew < since {
            return false;
        }
        let age = now.wall.duration_since(since).unwrap_or_default();
        age.saturating_add(skew)
    };
    // The longest time is that of a service which forgets nothing.
    lifetime == Duration::MAX || age.saturating_add(attempt) < lifetime
}
