//! Removes records that have expired.

use idempotency::{Idempotency, log_text::Causes, store::StoreError};

use super::audit::{Asked, Who};

/// How many records one call of a store removes.
pub(crate) const PURGED_AT_ONCE: usize = 1000;

/// Removes up to `limit` of them, a piece after another, and says after each how many there have been.
pub(crate) async fn purge(
    idempotency: &Idempotency,
    who: &Who,
    limit: usize,
    mut progress: impl FnMut(usize),
) -> Result<usize, StoreError> {
    let event = Asked::log(who, "purge", "all that have expired");
    let mut purged = 0;
    while purged < limit {
        let removed = match idempotency.store().purge_expired(PURGED_AT_ONCE).await {
            Ok(removed) => removed,
            Err(error) => {
                let error_text = Causes(&error);
                event.not_done(format_args!("{purged} removed, and then: {error_text}"));
                return Err(error);
            }
        };
        purged += removed;
        progress(purged);
        if removed < PURGED_AT_ONCE {
            break;
        }
    }
    event.done(format_args!("{purged} removed"));
    Ok(purged)
}
