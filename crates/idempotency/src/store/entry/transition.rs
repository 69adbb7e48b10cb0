//! What a verb returns, and what it leaves to the store.

/// What a method of [`Entry`](super::Entry) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the store saves what was changed, and returns the reply"]
#[non_exhaustive]
pub struct Transition<T> {
    /// What the store's verb returns, once the entry is saved.
    pub reply: T,
    /// What the store does before it returns.
    pub change: Change,
}

/// What a store does with an [`Entry`](super::Entry) after one of its methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Nothing: the entry is as it was.
    Unchanged,
    /// It saves the entry.
    Changed,
    /// It saves the entry, and then wakes those who wait for the end of the hold: [`Wakeups::wake`](crate::store::Wakeups::wake).
    Ended,
}

impl<T> Transition<T> {
    pub(super) const fn unchanged(reply: T) -> Self {
        let change = Change::Unchanged;
        Self { reply, change }
    }

    pub(super) const fn changed(reply: T) -> Self {
        let change = Change::Changed;
        Self { reply, change }
    }

    pub(super) const fn ended(reply: T) -> Self {
        let change = Change::Ended;
        Self { reply, change }
    }
}
