//! What a client names an operation by: [`IdempotencyKey`], and the request that a key is read from where it is not in
//! `Idempotency-Key`.

mod sf_string;
mod source;

use std::{error::Error, fmt};

#[cfg(feature = "axum")]
pub(crate) use source::Kind;
#[cfg(feature = "axum")]
pub(crate) use source::Places;
#[cfg(feature = "axum")]
pub(crate) use source::places_of;

pub use source::KeyFn;
pub use source::KeyRejection;
pub use source::KeyRequest;

/// The key that a client chose for one operation: 1 to 255 printable ASCII characters, compared byte by byte.
///
/// ```
/// use idempotency::IdempotencyKey;
///
/// let key = IdempotencyKey::new("order-17/charge")?;
/// assert_eq!(key.expose(), "order-17/charge");
/// # Ok::<(), idempotency::key::KeyError>(())
/// ```
///
/// A key that can be guessed can be misused, so `Debug` does not show it, nothing logs it, and stores hold only a
/// digest of it. A key like the one above can be found by guessing from a copy of the store, unless the engine [has a
/// secret](crate::IdempotencyBuilder::with_secret).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LENGTH: usize = 255;

    /// A key made by a program, such as the id of a queue message.
    ///
    /// # Errors
    ///
    /// If it is empty, is longer than [`MAX_LENGTH`](Self::MAX_LENGTH), begins or ends with a space, or contains
    /// characters outside printable ASCII.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        if !all(key.as_bytes(), |byte| matches!(byte, b' '..=b'~')) {
            return Err(KeyError::Character);
        }
        if key.is_empty() || key.starts_with(' ') || key.ends_with(' ') {
            return Err(KeyError::Blank);
        }
        if key.len() > Self::MAX_LENGTH {
            return Err(KeyError::TooLong);
        }
        Ok(Self(key.into()))
    }

    /// The key in a field value: an sf-string (`"k"`, whose parameters are ignored) or, where the syntax allows it, a bare key
    /// without quotes (`k`).
    ///
    /// ```
    /// use idempotency::{IdempotencyKey, key::{KeyError, KeySyntax}};
    ///
    /// let key = IdempotencyKey::from_field_value(b"k", KeySyntax::QuotedOrBare)?;
    /// assert_eq!(key, IdempotencyKey::from_field_value(b"\"k\"", KeySyntax::Quoted)?);
    /// let bare = IdempotencyKey::from_field_value(b"k", KeySyntax::Quoted);
    /// assert_eq!(bare, Err(KeyError::NotQuoted));
    /// # Ok::<(), KeyError>(())
    /// ```
    ///
    /// Section 2.1 of draft -07 makes the field an Item Structured Header of type String, with the grammar of RFC 9651.
    /// A bare key is not parsed by that grammar: it reads one UUID as a Token, and another as a broken Integer.
    ///
    /// # Errors
    ///
    /// If the value is neither, or is what a broken client sends when it has no key, such as `undefined`.
    pub fn from_field_value(value: &[u8], syntax: KeySyntax) -> Result<Self, KeyError> {
        let value = without_white_space(value);
        let key = match value.first() {
            None => Err(KeyError::Blank),
            Some(b'"') => Self::new(&sf_string::read(value).ok_or(KeyError::BadString)?),
            Some(_) if syntax == KeySyntax::Quoted => Err(KeyError::NotQuoted),
            Some(first) if may_begin_bare(*first) && all(value, is_bare) => {
                let value = str::from_utf8(value).map_err(|_| KeyError::Character)?;
                Self::new(value)
            }
            Some(_) => Err(KeyError::Character),
        }?;
        key.unless_placeholder()
    }

    /// Its characters.
    pub(crate) fn into_text(self) -> Box<str> {
        self.0
    }

    /// A key that a client has sent in another form than a field value.
    pub(crate) fn not_placeholder(key: &str) -> Result<Self, KeyError> {
        Self::new(key)?.unless_placeholder()
    }

    fn unless_placeholder(self) -> Result<Self, KeyError> {
        if PLACEHOLDERS.contains(&self.expose()) {
            Err(KeyError::Placeholder)
        } else {
            Ok(self)
        }
    }

    /// The field value for this key, in double quotes, as the draft writes it.
    ///
    /// ```
    /// use idempotency::IdempotencyKey;
    ///
    /// assert_eq!(IdempotencyKey::new("order-17")?.to_field_value(), r#""order-17""#);
    /// # Ok::<(), idempotency::key::KeyError>(())
    /// ```
    ///
    /// It contains the key, so treat it as a secret.
    #[must_use]
    pub fn to_field_value(&self) -> String {
        sf_string::write(&self.0)
    }

    /// The key itself. Treat it as a secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IdempotencyKey(…)")
    }
}

/// How a key may be written in a field value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySyntax {
    /// In double quotes, or, as many clients send it, without them if it has only letters, digits and `._~:+/=@-` and does not
    /// begin with `:` or `@`.
    QuotedOrBare,
    /// In double quotes only, as the draft writes it.
    Quoted,
}

/// Why a value is not a key. The text is meant for the client and never repeats what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The key is empty, consists only of spaces, or has a space at either end.
    Blank,
    /// The key has more than 255 characters.
    TooLong,
    /// The key has a character that is not allowed.
    Character,
    /// The value is a quoted string that breaks RFC 9651, or has something after the string that does.
    BadString,
    /// The key is bare where only quoted keys are accepted.
    NotQuoted,
    /// The value is what a client sends when it has no key: all such clients would share it.
    Placeholder,
    /// The field was sent on more than one line.
    Repeated,
}

impl fmt::Display for KeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Blank => "the key is empty, or begins or ends with a space",
            Self::TooLong => "the key is longer than 255 characters",
            Self::Character => {
                "the key has a character that is not allowed; send a UUID, or printable ASCII in double quotes"
            }
            Self::BadString => "the quoted key is not a valid string of RFC 9651, section 3.3.3",
            Self::NotQuoted => "the key must be enclosed in double quotes",
            Self::Placeholder => "the client sent a placeholder for a missing value instead of a key",
            Self::Repeated => "the field was sent more than once; send it on one line with one key",
        })
    }
}

impl Error for KeyError {}

/// RFC 9110 section 5.5: surrounding white space is not part of a field value. HTTP/1 servers remove it; HTTP/2 servers
/// may not.
fn without_white_space(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// What programs send in place of a missing key: in JavaScript, in Python, and a UUID that was never filled in.
const PLACEHOLDERS: [&str; 6] = [
    "undefined",
    "null",
    "NaN",
    "[object Object]",
    "None",
    "00000000-0000-0000-0000-000000000000",
];

/// The punctuation that a bare key can have, in addition to letters and digits. The message for clients names it too.
#[cfg(any(test, feature = "axum"))]
pub(crate) const BARE_PUNCTUATION: &str = "._~:+/=@-";

/// A colon begins a Byte Sequence of RFC 9651, and an at sign begins a Date, and other servers would read them as such.
fn may_begin_bare(byte: u8) -> bool {
    !matches!(byte, b':' | b'@')
}

fn is_bare(byte: u8) -> bool {
    // A pattern and not a search in a string, because it is evaluated for each byte of each key.
    matches!(
        byte,
        b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'.' | b'_' | b'~' | b':' | b'+' | b'/' | b'=' | b'@' | b'-'
    )
}

/// Whether each byte is like this. It reads all of them, because keys are short and right, and a loop that never ends early takes many
/// bytes at a time.
fn all(bytes: &[u8], is_right: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(true, |all, &byte| all & is_right(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_characters_that_clients_are_told_are_those_that_are_taken() {
        let taken = (0..=u8::MAX).filter(|byte| is_bare(*byte) && !byte.is_ascii_alphanumeric());
        let mut told = BARE_PUNCTUATION.as_bytes().to_vec();
        told.sort_unstable();
        assert_eq!(taken.collect::<Vec<_>>(), told);
    }
}
