//! The names of records among the server's keys, and of the channels that announce their ends.

use std::sync::Arc;

use crate::record::RecordId;

/// The prefix of the names. A record's key is the prefix and the record's id in hexadecimal digits, and its channel has
/// the same name.
#[derive(Clone, Debug)]
pub(super) struct Keys(Arc<str>);

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self(prefix.into())
    }

    pub(super) fn name(&self, id: &RecordId) -> String {
        let mut name = String::with_capacity(self.0.len() + 64);
        name.push_str(&self.0);
        for byte in id.as_bytes() {
            for half in [byte >> 4, byte & 0xf] {
                name.push(char::from(DIGITS[usize::from(half)]));
            }
        }
        name
    }

    /// The id of the record with this name; `None` if the key belongs to another application.
    pub(super) fn id(&self, name: &[u8]) -> Option<RecordId> {
        let digits = name.strip_prefix(self.0.as_bytes())?;
        let mut id = [0; 32];
        if digits.len() != 2 * id.len() {
            return None;
        }
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = 16 * digit(pair[0])? + digit(pair[1])?;
        }
        Some(RecordId::from_bytes(id))
    }

    /// A pattern that matches these names.
    pub(super) fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.0.len() + 1);
        for character in self.0.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        pattern
    }
}

/// The value of a digit as [`Keys::name`] writes it. Upper-case digits are not accepted, so that each id has one name.
fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_from_its_name_and_from_no_other() {
        let keys = Keys::new("a:");
        let id = RecordId::from_bytes([0xa7; 32]);
        let name = keys.name(&id);
        assert_eq!(name, format!("a:{}", "a7".repeat(32)));
        assert_eq!(keys.id(name.as_bytes()), Some(id));
        for other in [
            "a:settings",
            &name[1..],
            &name.to_uppercase(),
            &format!("{name}0"),
        ] {
            assert_eq!(keys.id(other.as_bytes()), None, "{other}");
        }
    }

    // proves: store-sees-digests-only
    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(Keys::new(r"a*[b]?\:").pattern(), r"a\*\[b\]\?\\:*");
    }
}
