//! The transitions of a key as a table, so that a test can replace one.

use std::time::SystemTime;

use bytes::Bytes;
use idempotency::store::{Claim, ClaimRequest, Entry, Hold, IfOwner, StoreError, Transition};

type Verb<T> = fn(&mut Entry, &Hold, SystemTime) -> Transition<T>;
type Storing<T> = fn(&mut Entry, &Hold, Bytes, SystemTime) -> Transition<IfOwner<T>>;
type Claiming =
    fn(&mut Entry, ClaimRequest<'_>, SystemTime) -> Transition<Result<Claim, StoreError>>;

/// What a store does, and one habit of the engine.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) claim: Claiming,
    pub(crate) withdraw: Verb<()>,
    pub(crate) renew: Verb<IfOwner<()>>,
    pub(crate) release: Verb<IfOwner<()>>,
    pub(crate) checkpoint: Storing<()>,
    pub(crate) suspend: Storing<()>,
    pub(crate) complete: Storing<SystemTime>,
    /// Whether a lease counts from before its claim was sent.
    pub(crate) counts_from_sending: bool,
    /// Whether a commit fails where another run has a record.
    pub(crate) commit_is_unique: bool,
}

/// Those of the library.
pub(crate) const LIBRARY: Rules = Rules {
    claim: Entry::claim,
    withdraw: Entry::withdraw,
    renew: Entry::renew,
    release: Entry::release,
    checkpoint: Entry::checkpoint,
    suspend: Entry::suspend,
    complete: Entry::complete,
    counts_from_sending: true,
    commit_is_unique: true,
};
