//! The spent tokens next to a record, whose claims take nothing any more.

use super::MAX_SPENT_TOKENS;
use crate::record::Token;

/// Spent tokens, the latest first, as their bytes one after another.
#[derive(Clone, Default)]
pub(super) struct SpentTokens(Vec<u8>);

/// How many bytes a token has.
const TOKEN: usize = size_of::<Token>();

impl SpentTokens {
    /// Reads the tokens that a record stores; `None` if the bytes are not whole tokens.
    #[cfg(any(feature = "firestore", feature = "sqlite"))]
    pub(super) fn read(bytes: Vec<u8>) -> Option<Self> {
        bytes.len().is_multiple_of(TOKEN).then_some(Self(bytes))
    }

    /// The bytes that a record stores; `None` if there are no tokens.
    #[cfg(any(feature = "firestore", feature = "sqlite"))]
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        (!self.0.is_empty()).then_some(&self.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn contains(&self, token: &Token) -> bool {
        self.0.chunks(TOKEN).any(|spent| spent == token.as_bytes())
    }

    /// These tokens and a later one, which replaces the earliest if there are too many.
    pub(super) fn with(&self, token: &Token) -> Self {
        let mut tokens = token.as_bytes().to_vec();
        tokens.extend_from_slice(&self.0);
        tokens.truncate(MAX_SPENT_TOKENS * TOKEN);
        Self(tokens)
    }
}
