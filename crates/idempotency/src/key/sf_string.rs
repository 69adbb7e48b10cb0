//! The part of RFC 9651's grammar that a field with a String value needs.

use std::borrow::Cow;

/// An Item that is a String. Its parameters are checked and dropped. Nothing may surround it.
pub(super) fn read(value: &[u8]) -> Option<Cow<'_, str>> {
    let mut rest = Parser(value);
    let string = rest.string()?;
    rest.parameters()?;
    rest.0.is_empty().then_some(string)
}

/// The String of this text, which is printable ASCII.
pub(super) fn write(text: &str) -> String {
    let mut string = String::with_capacity(text.len() + 2);
    string.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            string.push('\\');
        }
        string.push(letter);
    }
    string.push('"');
    string
}

/// The rest of the input.
struct Parser<'a>(&'a [u8]);

impl<'a> Parser<'a> {
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

    fn string(&mut self) -> Option<Cow<'a, str>> {
        self.take(|byte| byte == b'"')?;
        let mut string = Cow::Borrowed(self.plain()?);
        loop {
            match self.next()? {
                b'"' => return Some(string),
                b'\\' => {
                    let escaped = self.take(|byte| matches!(byte, b'"' | b'\\'))?;
                    string.to_mut().push(char::from(escaped));
                }
                _ => return None,
            }
            string += self.plain()?;
        }
    }

    /// The characters before a quote, a backslash, or what no String contains.
    fn plain(&mut self) -> Option<&'a str> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        let length = self.0.iter().take_while(|byte| is_plain(byte)).count();
        let (plain, rest) = self.0.split_at(length);
        self.0 = rest;
        str::from_utf8(plain).ok()
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

    /// Section 4.2.4: at most 15 digits, or at most 12 before a point and 1 to 3 after it.
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

    /// Section 4.2.7: base64, whose padding may be missing.
    fn byte_sequence(&mut self) -> Option<()> {
        self.next();
        let digits = self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
        let padding = self.take_while(|byte| byte == b'=');
        let is_base64 = match digits % 4 {
            0 => padding == 0,
            1 => false,
            digits => padding <= 4 - digits,
        };
        self.take(|byte| byte == b':')
            .filter(|_| is_base64)
            .map(drop)
    }

    /// Section 4.2.10: printable ASCII, and the rest as `%` and two lower-case hexadecimal digits; together they are
    /// UTF-8.
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
