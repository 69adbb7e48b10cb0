//! One line of the file: `sha256=… subject=… role=… expires=…`.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Datelike, SecondsFormat, Utc};

use super::{Holder, digest::Digest, role::Role, subject::Subject};

/// A valid token.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) digest: Digest,
    pub(super) holder: Holder,
    pub(super) expires: Option<Expiry>,
}

/// When a token stops being valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry(DateTime<Utc>);

impl Expiry {
    pub(super) fn is_over(self) -> bool {
        self.0 <= Utc::now()
    }
}

impl FromStr for Line {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let (mut digest, mut subject, mut role, mut expires) = (None, None, None, None);
        for (number, field) in (1..).zip(line.split_ascii_whitespace()) {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let is_repeated = match name {
                "sha256" => digest.replace(read_digest(value)?).is_some(),
                "subject" => subject.replace(value.parse::<Subject>()?).is_some(),
                "role" => role.replace(read_role(value)?).is_some(),
                "expires" => expires.replace(value.parse::<Expiry>()?).is_some(),
                _ => {
                    return Err(format!(
                        "field {number} is not sha256=, subject=, role= or expires="
                    ));
                }
            };
            if is_repeated {
                return Err(format!("{name} is given twice"));
            }
        }
        let missing = |name: &str| format!("{name} is missing");
        Ok(Self {
            digest: digest.ok_or_else(|| missing("sha256"))?,
            holder: Holder {
                subject: subject.ok_or_else(|| missing("subject"))?,
                role: role.ok_or_else(|| missing("role"))?,
            },
            expires,
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { subject, role } = &self.holder;
        let digest = self.digest.to_hex();
        write!(formatter, "sha256={digest} subject={subject} role={role}")?;
        match self.expires {
            Some(expires) => write!(formatter, " expires={expires}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|_| "the expiry must be a time such as 2027-01-31T12:00:00Z")?;
        let time = time.to_utc();
        // An offset may result in a year without four digits, which could not be read back.
        match time.year() {
            0..=9999 => Ok(Self(time)),
            _ => Err("the expiry must be in the years 0000 to 9999, in UTC".into()),
        }
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

fn read_digest(value: &str) -> Result<Digest, &'static str> {
    Digest::from_hex(value).ok_or(
        "sha256 must be the SHA-256 of the token, 64 hexadecimal digits, and not the token itself",
    )
}

fn read_role(value: &str) -> Result<Role, &'static str> {
    Role::from_name(value).ok_or("the role must be viewer, caller or operator")
}
