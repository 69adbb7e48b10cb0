//! The spent tokens next to a record, whose claims take nothing any more.

use std::fmt;

use super::MAX_SPENT_TOKENS;
use crate::record::Token;

/// Spent tokens, the latest first, as their bytes one after another.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct SpentTokens(Box<[u8]>);

/// How many bytes a token has.
const TOKEN: usize = size_of::<Token>();

impl SpentTokens {
    /// Reads the tokens that a record stores; `None` if the bytes are not whole tokens.
    #[cfg(any(feature = "firestore", feature = "sqlite"))]
    pub(super) fn read(bytes: Vec<u8>) -> Option<Self> {
        let is_whole = bytes.len().is_multiple_of(TOKEN);
        is_whole.then(|| Self(bytes.into()))
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

    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        let (tokens, _) = self.0.as_chunks();
        tokens.iter().copied().map(Token::from_bytes)
    }

    /// These tokens and a later one, which replaces the earliest if there are too many.
    pub(super) fn with(&self, token: &Token) -> Self {
        let mut tokens = token.as_bytes().to_vec();
        tokens.extend_from_slice(&self.0);
        tokens.truncate(MAX_SPENT_TOKENS * TOKEN);
        Self(tokens.into())
    }
}

/// The first of these tokens, as many as a key remembers.
impl FromIterator<Token> for SpentTokens {
    fn from_iter<I: IntoIterator<Item = Token>>(tokens: I) -> Self {
        let latest = tokens.into_iter().take(MAX_SPENT_TOKENS);
        Self(latest.flat_map(|token| *token.as_bytes()).collect())
    }
}

impl fmt::Debug for SpentTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({} tokens)", self.0.len() / TOKEN)
    }
}
