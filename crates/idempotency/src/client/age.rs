//! Whether a key may have expired: with an expired key the operation would happen once more.

use std::time::{Duration, SystemTime};

use super::intent_record::IntentRecord;

/// A clock that is set by less than this between two attempts still tells their order well enough.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Whether an attempt that takes this long reaches the service while it surely knows the key.
///
/// The service counts its ttl from the end of the first run, which is later than the intent's beginning.
pub(super) fn is_safe(
    record: &IntentRecord,
    now: SystemTime,
    attempt: Duration,
    ttl: Duration,
) -> bool {
    let from_beginning = record.begun_at.checked_add(ttl);
    let Some(expires_at) = record.expires_at.or(from_beginning) else {
        return true;
    };
    // After a clock was set back, the age is not known.
    let is_clock_sound = record.begun_at <= now + CLOCK_SKEW;
    let arrived = now.checked_add(attempt);
    is_clock_sound && arrived.is_some_and(|arrived| arrived < expires_at)
}
