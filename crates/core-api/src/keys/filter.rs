//! Which keys a list shows, or a change is for.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use idempotency::{
    Idempotency, StoreError,
    store::{ListRequest, Listed, ListedPhase, RecordId},
};

/// How long ago something was: a number and a unit, such as `10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

/// What a key has to be like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) phase: Option<ListedPhase>,
    pub(crate) older_than: Option<Age>,
    /// In the form in which records have it.
    pub(crate) label: Option<Box<str>>,
    pub(crate) route: Option<Box<str>>,
}

/// How far a list has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Start,
    After(RecordId),
    End,
}

/// How many records are read at once. Each may have a response of a megabyte.
const READ_AT_ONCE: usize = 32;

impl Filter {
    /// The next of these keys, none of them only at the end. Those that cannot be read are among them.
    pub(crate) async fn next(
        &self,
        idempotency: &Idempotency,
        position: &mut Position,
    ) -> Result<Vec<Listed>, StoreError> {
        let mut request = ListRequest::new(READ_AT_ONCE);
        request.phase = self.phase;
        request.label.clone_from(&self.label);
        if let Some(Age(age)) = self.older_than {
            // Nothing is older than the time that a clock can show.
            let before = SystemTime::now().checked_sub(age);
            request = request.created_before(before.unwrap_or(SystemTime::UNIX_EPOCH));
        }
        loop {
            match *position {
                Position::Start => {}
                Position::After(last) => request = request.after(last),
                Position::End => return Ok(Vec::new()),
            }
            let mut listed = idempotency.store().list(&request).await?;
            *position = match listed.last() {
                Some(last) => Position::After(last.id),
                None => Position::End,
            };
            listed.retain(|listed| self.is_on_route(listed));
            if !listed.is_empty() {
                return Ok(listed);
            }
        }
    }

    /// Stores do not look for routes.
    fn is_on_route(&self, listed: &Listed) -> bool {
        let Some(route) = self.route.as_deref() else {
            return true;
        };
        let record = listed.record.as_ref();
        record.map_or(true, |record| record.labels.route() == Some(route))
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = match text.as_bytes().last() {
            Some(b's') => Some(1),
            Some(b'm') => Some(60),
            Some(b'h') => Some(3600),
            Some(b'd') => Some(24 * 3600),
            _ => None,
        };
        let number = text.get(..text.len().saturating_sub(1));
        // `parse` takes a sign, too.
        let number = number.filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|number| number.parse::<u64>().ok());
        let seconds = unit.and_then(|unit| number?.checked_mul(unit));
        seconds
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| "expected a number and s, m, h or d, such as 10m".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        for (text, seconds) in [("0s", 0), ("10m", 600), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(text.parse(), Ok(Age(Duration::from_secs(seconds))));
        }
        for text in [
            "",
            "m",
            "10",
            "+1m",
            "-1m",
            "1.5h",
            "10 m",
            "1w",
            "99999999999999999999s",
            "1é",
        ] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
