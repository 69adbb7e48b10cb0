//! How a store on this machine shares out its room, so that a scope that floods it leaves room for the others.

use crate::{record::ScopeId, store::StoreError};

/// What a record takes in addition to its outcome, rounded up: in memory the entry, its places in map and queue, and
/// the allocator's overhead; in a file the row and its places in the indexes.
pub(super) const BYTES_PER_RECORD: usize = 400;

/// How many times the free room a scope may use. One scope alone gets eight ninths of the limit, and each of two that
/// flood the store gets eight seventeenths. A scope that has nothing is refused only by a full store.
const TIMES_FREE: usize = 8;

/// Checks that there is room for a new record of this scope, whose records use `own` of the `used` bytes. Returns how
/// many bytes are used with it.
pub(super) fn admit(
    scope: &ScopeId,
    own: usize,
    used: usize,
    limit: usize,
) -> Result<usize, StoreError> {
    let then = used.saturating_add(BYTES_PER_RECORD);
    if then > limit {
        return Err(StoreError::full(format!(
            "all of its {limit} bytes are used; they become free as keys expire"
        )));
    }
    let free = limit - then;
    if own > free.saturating_mul(TIMES_FREE) {
        return Err(StoreError::scope_full(format!(
            "the records of scope {scope} use {own} of {limit} bytes, and {free} bytes are free"
        )));
    }
    Ok(then)
}
