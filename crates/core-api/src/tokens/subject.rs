use std::{fmt, str::FromStr, sync::Arc};

/// Who sends a request: the owner of keys and bookings. The subject stays the same when its token is replaced.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(Arc<str>);

/// The longest subject, which is stored with each booking.
const MAX_LENGTH: usize = 128;

impl Subject {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        match text.len() {
            1..=MAX_LENGTH if is_visible => Ok(Self(text.into())),
            0 => Err("a subject must not be empty".into()),
            _ => Err(format!(
                "a subject is 1 to {MAX_LENGTH} visible ASCII characters, without spaces"
            )),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Subject(…)")
    }
}
