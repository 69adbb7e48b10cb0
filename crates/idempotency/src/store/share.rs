//! How a store on this machine shares out its room: a scope that floods leaves some for the others.

use crate::{ScopeId, StoreError};

/// What a record takes beside its outcome, rounded up: in memory the entry, its places in map and queue, the allocator; in a
/// file the row and its places in the indexes.
pub(super) const BYTES_PER_RECORD: usize = 400;

/// How many times what is free a scope may use. So one alone gets eight ninths of the limit, each of two that flood eight
/// seventeenths, and a scope that has nothing is refused by a full store only.
const TIMES_FREE: usize = 8;

/// Whether there is room for a new record of this scope, whose records use `own` of the `used` bytes. Returns what is used then.
pub(super) fn admit(
    scope: &ScopeId,
    own: usize,
    used: usize,
    limit: usize,
) -> Result<usize, StoreError> {
    let then = used.saturating_add(BYTES_PER_RECORD);
    if then > limit {
        return Err(StoreError::full(format!(
            "its {limit} bytes are used; they come free as keys expire"
        )));
    }
    let free = limit - then;
    if own > free.saturating_mul(TIMES_FREE) {
        return Err(StoreError::scope_full(format!(
            "the records of scope {scope} use {own} bytes of {limit}, and {free} are left for all"
        )));
    }
    Ok(then)
}
