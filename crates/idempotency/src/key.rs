use std::{error::Error, fmt};

/// The key that a client chose for one operation: 1 to 255 printable ASCII characters, compared byte by byte.
///
/// ```
/// use idempotency::IdempotencyKey;
///
/// let key = IdempotencyKey::new("order-17/charge")?;
/// assert_eq!(key.expose(), "order-17/charge");
/// # Ok::<(), idempotency::KeyError>(())
/// ```
///
/// It stands for money to whoever can guess it, so `Debug` does not show it and nothing logs it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    /// The longest key, in characters.
    pub const MAX_LENGTH: usize = 255;

    /// A key from a program, such as the id of a queue message.
    ///
    /// # Errors
    ///
    /// If it is empty, longer than [`MAX_LENGTH`](Self::MAX_LENGTH), begins or ends with a space, or has
    /// characters outside printable ASCII.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        if !key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
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

    /// The key in a field value: an sf-string (`"k"`, with parameters that are ignored), or, unless
    /// `strict`, the same characters without quotes (`k`).
    ///
    /// Draft -07 section 2.1 makes the field an Item Structured Header of type String; the grammar is RFC
    /// 9651's. A bare key must not go through that grammar: one UUID in it is a Token, another one a
    /// broken Integer.
    ///
    /// # Errors
    ///
    /// If the value is neither.
    pub fn from_field_value(value: &[u8], strict: bool) -> Result<Self, KeyError> {
        let value = value.trim_ascii();
        match value.first() {
            None => Err(KeyError::Blank),
            Some(b'"') => Self::new(&sf_string(value)?),
            Some(_) if strict => Err(KeyError::NotQuoted),
            Some(first) if first.is_ascii_alphanumeric() && value.iter().all(is_bare) => {
                let value = str::from_utf8(value).map_err(|_| KeyError::Character)?;
                Self::new(value)
            }
            Some(_) => Err(KeyError::Character),
        }
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

/// Why something is not a key. The text is for the client and never repeats what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing, or only spaces, or a space at either end.
    Blank,
    /// More than 255 characters.
    TooLong,
    /// A character that a key cannot have.
    Character,
    /// A quoted string that breaks RFC 9651, or something behind it that does.
    BadString,
    /// A bare key where only quoted ones are taken.
    NotQuoted,
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
            Self::NotQuoted => "the key must stand in double quotes",
            Self::Repeated => "the field was sent more than once; send it on one line with one key",
        })
    }
}

impl Error for KeyError {}

fn is_bare(byte: &u8) -> bool {
    // A pattern and not a search in a string: it is asked of each byte of each key.
    matches!(
        byte,
        b'A'..=b'Z'
            | b'a'..=b'z'
            | b'0'..=b'9'
            | b'.' | b'_' | b'~' | b':' | b'+' | b'/' | b'=' | b'@' | b'-'
    )
}

/// RFC 9651 section 4.2: an Item whose value is a String; its parameters are checked and dropped.
fn sf_string(value: &[u8]) -> Result<String, KeyError> {
    let mut rest = Parser(value);
    let key = rest.string().ok_or(KeyError::BadString)?;
    rest.parameters().ok_or(KeyError::BadString)?;
    if rest.0.is_empty() {
        Ok(key)
    } else {
        Err(KeyError::BadString)
    }
}

/// What is left to read.
struct Parser<'a>(&'a [u8]);

impl Parser<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool) -> Option<u8> {
        self.0
            .first()
            .copied()
            .filter(|&byte| wanted(byte))
            .inspect(|_| self.0 = &self.0[1..])
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let before = self.0.len();
        while self.take(&wanted).is_some() {}
        before - self.0.len()
    }

    fn string(&mut self) -> Option<String> {
        self.take(|byte| byte == b'"')?;
        let mut string = String::with_capacity(self.0.len());
        loop {
            match self.next()? {
                b'"' => return Some(string),
                b'\\' => string.push(char::from(self.take(|byte| matches!(byte, b'"' | b'\\'))?)),
                byte @ b' '..=b'~' => string.push(char::from(byte)),
                _ => return None,
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.take(|byte| byte == b';').is_some() {
            self.take_while(|byte| byte == b' ');
            self.take(|byte| byte.is_ascii_lowercase() || byte == b'*')?;
            self.take_while(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
            });
            if self.take(|byte| byte == b'=').is_some() {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<()> {
        match *self.0.first()? {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.number(),
            b'A'..=b'Z' | b'a'..=b'z' | b'*' => {
                self.take_while(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(())
            }
            b':' => self.byte_sequence(),
            b'?' => {
                self.next();
                self.take(|byte| matches!(byte, b'0' | b'1')).map(drop)
            }
            b'@' => {
                self.next();
                self.integer()
            }
            b'%' => self.display_string(),
            _ => None,
        }
    }

    /// Sections 4.2.4: at most 15 digits, or at most 12 before a point and 1 to 3 behind it.
    fn number(&mut self) -> Option<()> {
        self.take(|byte| byte == b'-');
        let whole = self.take_while(|byte| byte.is_ascii_digit());
        if self.take(|byte| byte == b'.').is_none() {
            return (1..=15).contains(&whole).then_some(());
        }
        let fraction = self.take_while(|byte| byte.is_ascii_digit());
        ((1..=12).contains(&whole) && (1..=3).contains(&fraction)).then_some(())
    }

    fn integer(&mut self) -> Option<()> {
        self.take(|byte| byte == b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        ((1..=15).contains(&digits) && self.0.first() != Some(&b'.')).then_some(())
    }

    fn byte_sequence(&mut self) -> Option<()> {
        self.next();
        self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.take(|byte| byte == b':').map(drop)
    }

    /// Section 4.2.10: printable ASCII, the rest as `%` and two lower-case hexadecimal digits, UTF-8 in all.
    fn display_string(&mut self) -> Option<()> {
        self.next();
        self.take(|byte| byte == b'"')?;
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                b'"' => return str::from_utf8(&bytes).ok().map(drop),
                b'%' => bytes.push(16 * self.hex_digit()? + self.hex_digit()?),
                byte @ b' '..=b'~' => bytes.push(byte),
                _ => return None,
            }
        }
    }

    fn hex_digit(&mut self) -> Option<u8> {
        match self.next()? {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        }
    }
}
