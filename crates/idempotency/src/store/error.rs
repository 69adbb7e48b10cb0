//! Why a store fails.

use std::{error::Error, fmt};

#[cfg(feature = "postgres")]
use crate::log_text::Causes;

/// Why a store operation failed.
///
/// The engine turns each error into a refusal and runs nothing, so a client may retry.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    was_sent: bool,
    store: Option<&'static str>,
    source: Box<dyn Error + Send + Sync>,
}

/// The kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store could not be reached, or it failed. The operation may have taken effect.
    Unavailable,
    /// The record exists but cannot be read: another version wrote it, or it is damaged.
    Unreadable,
    /// The store is at its limit and accepts no new keys until old ones expire.
    Full,
    /// The claim's scope has used up its share of the store, and gets no new keys until old ones expire. Nothing was
    /// changed.
    ScopeFull,
    /// The claim's token is spent: the claim was withdrawn, or its hold released. Nothing was changed.
    Withdrawn,
    /// The outcome or the progress is longer than [`Store::outcome_limit`](super::Store::outcome_limit). Nothing was
    /// changed.
    TooLarge,
}

impl StoreError {
    /// The store could not be reached, or it failed.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            was_sent: true,
            store: None,
            source: source.into(),
        }
    }

    /// The store could not be reached, or it rolled everything back: the operation had no effect and will have none.
    pub fn unreached(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            was_sent: false,
            ..Self::unavailable(source)
        }
    }

    /// The record cannot be read.
    pub fn unreadable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Unreadable,
            was_sent: true,
            store: None,
            source: source.into(),
        }
    }

    /// The store accepts no new keys.
    pub fn full(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Full,
            was_sent: true,
            store: None,
            source: source.into(),
        }
    }

    /// The store accepts no new keys of this scope.
    pub fn scope_full(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::ScopeFull,
            was_sent: true,
            store: None,
            source: source.into(),
        }
    }

    /// The outcome or the progress is longer than the store can hold.
    pub fn too_large(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::TooLarge,
            was_sent: true,
            store: None,
            source: source.into(),
        }
    }

    /// The claim's token is spent.
    #[must_use]
    pub fn withdrawn() -> Self {
        Self {
            kind: StoreErrorKind::Withdrawn,
            was_sent: true,
            store: None,
            source: "its token was withdrawn or released before it arrived".into(),
        }
    }

    /// Adds the [`name`](super::Store::name) of the store that failed, unless the error has one already. The engine calls
    /// this, and stores of this library call it where their databases fail, so that the name is right inside wrappers
    /// too.
    #[must_use]
    pub fn with_store(mut self, name: &'static str) -> Self {
        self.store.get_or_insert(name);
        self
    }

    /// The [`name`](super::Store::name) of the store that failed, if it is known.
    #[must_use]
    pub const fn store(&self) -> Option<&'static str> {
        self.store
    }

    /// Whether the call may have been sent, so that a claim has to be withdrawn; see [`unreached`](Self::unreached).
    #[must_use]
    pub const fn was_sent(&self) -> bool {
        self.was_sent
    }

    /// The same error, but possibly sent if an earlier attempt of the same call was.
    #[cfg(feature = "postgres")]
    pub(super) fn was_sent_if(mut self, earlier: bool) -> Self {
        self.was_sent |= earlier;
        self
    }

    /// The same error, for another call that failed with it.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn repeated(&self) -> Self {
        Self {
            kind: self.kind,
            was_sent: self.was_sent,
            store: self.store,
            source: Causes(self.source.as_ref()).to_string().into(),
        }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.store.map(|name| format!(" `{name}`"));
        let name = name.unwrap_or_default();
        match self.kind {
            StoreErrorKind::Unavailable => {
                write!(
                    formatter,
                    "the idempotency store{name} did not respond or failed"
                )
            }
            StoreErrorKind::Unreadable => {
                write!(
                    formatter,
                    "the idempotency store{name} holds a record that cannot be read"
                )
            }
            StoreErrorKind::Full => write!(formatter, "the idempotency store{name} is full"),
            StoreErrorKind::ScopeFull => {
                write!(
                    formatter,
                    "the scope has used up its share of the idempotency store{name}"
                )
            }
            StoreErrorKind::Withdrawn => {
                write!(
                    formatter,
                    "the claim in the idempotency store{name} was withdrawn"
                )
            }
            StoreErrorKind::TooLarge => {
                write!(
                    formatter,
                    "the outcome is too large for the idempotency store{name}"
                )
            }
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}
