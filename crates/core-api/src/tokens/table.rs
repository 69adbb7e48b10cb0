//! The contents of one version of the file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Expiry, Failure, Holder, digest::Digest, line::Line};

/// The tokens of one version of the file.
pub(super) struct Table {
    lines: Vec<Line>,
    /// Tells whether another version has the same text.
    of: Digest,
}

impl Table {
    /// Reads one token per line; empty lines and those that begin with `#` are ignored. A mistake in one line makes the whole file
    /// invalid, so that a typing mistake neither admits nor locks out a caller.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        // Some editors empty a file before they write it.
        if text.trim_ascii().is_empty() {
            return Err("it is empty; write a comment into it if it should have no tokens".into());
        }
        let mut lines = Vec::new();
        let mut places = BTreeMap::new();
        for (number, text) in (1..).zip(text.split_inclusive('\n')) {
            // A file that is still being written may end in the middle of a subject.
            let ended = text.strip_suffix('\n').ok_or_else(|| {
                format!("line {number}: the file must end with a line break; it may be cut off")
            })?;
            if ended.trim_ascii().is_empty() || ended.starts_with('#') {
                continue;
            }
            let line: Line = ended
                .parse()
                .map_err(|mistake| format!("line {number}: {mistake}"))?;
            if let Some(first) = places.insert(line.digest, number) {
                return Err(format!("line {number}: the same token as in line {first}").into());
            }
            lines.push(line);
        }
        let of = Digest::of(text.as_bytes());
        Ok(Self { lines, of })
    }

    /// Whether the file had this text.
    pub(super) fn is_of(&self, text: &str) -> bool {
        self.of == Digest::of(text.as_bytes())
    }

    /// The holder of this token, unless it has expired. Every line is compared.
    pub(super) fn holder(&self, token: &Digest) -> Option<&Holder> {
        let mut found = None;
        for line in &self.lines {
            if line.digest.is_equal(token) {
                found = Some(line);
            }
        }
        let valid = found.filter(|line| !line.expires.is_some_and(Expiry::is_over));
        valid.map(|line| &line.holder)
    }

    /// How many tokens and subjects there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        let subjects: BTreeSet<_> = self.lines.iter().map(|line| &line.holder.subject).collect();
        (self.lines.len(), subjects.len())
    }
}

/// Omits the digests.
impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = &self.lines.len();
        formatter
            .debug_struct("Table")
            .field("tokens", tokens)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(token: &str) -> String {
        Digest::of(token.as_bytes()).to_hex()
    }

    #[test]
    fn a_digest_is_that_of_sha256sum() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest("abc"), abc);
        let read = |text: &str| Digest::from_hex(text).map(Digest::to_hex);
        assert_eq!(read(abc).as_deref(), Some(abc));
        assert_eq!(read(&abc.to_uppercase()).as_deref(), Some(abc));
        for wrong in ["", &abc[1..], &abc.replace('b', "g"), &"é".repeat(32)] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn digests_are_equal_in_every_byte_or_not_at_all() {
        let one = Digest::of(b"one");
        assert!(one.is_equal(&Digest::of(b"one")));
        let hex = one.to_hex();
        for place in 0..64 {
            let mut other = hex.clone().into_bytes();
            other[place] = if other[place] == b'0' { b'1' } else { b'0' };
            let other = String::from_utf8(other).unwrap();
            assert!(!one.is_equal(&Digest::from_hex(&other).unwrap()), "{place}");
        }
    }

    #[test]
    fn a_token_has_its_own_holder_until_it_expires() {
        let (ann, bob, old) = (digest("ann"), digest("bob"), digest("old"));
        let text = format!(
            "# Subjects\n\n  \t\nsha256={ann}\tsubject=ann role=caller\r\n\
             role=operator expires=9999-12-31T23:59:59+01:00 subject=bob sha256={bob}\n\
             sha256={old} subject=ann role=caller expires=2020-01-01T00:00:00Z\n"
        );
        let table = Table::read(&text).unwrap();
        assert_eq!(table.counts(), (3, 2));
        let holder = |token: &str| {
            let holder = table.holder(&Digest::of(token.as_bytes()))?;
            Some(format!("{} {}", holder.subject, holder.role))
        };
        assert_eq!(holder("ann").as_deref(), Some("ann caller"));
        assert_eq!(holder("bob").as_deref(), Some("bob operator"));
        assert_eq!(holder("old"), None);
        assert_eq!(holder(&ann), None, "a digest is no token");
        assert_eq!(holder(""), None);
        let nobody = Table::read("# Closed.\n").unwrap();
        assert_eq!(nobody.holder(&Digest::of(b"")), None);
        assert!(Table::read("").is_err());
        assert!(Table::read(" \n\t\n").is_err());
    }

    #[test]
    fn a_line_is_read_as_it_is_written() {
        for rest in ["", " expires=2027-01-31T12:00:00Z"] {
            let text = format!("sha256={} subject=ann role=viewer{rest}", digest("ann"));
            assert_eq!(text.parse::<Line>().unwrap().to_string(), text);
        }
    }
}
