//! The audit log: who asked to change a key or to see its response, and the result. Its events have the target `audit`.

use std::fmt;

use idempotency::log_text::Printable;

/// Who made the request.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    /// The user who runs this process.
    User(String),
    /// The subject of a token, with the first digits of the token's digest.
    Subject { name: Box<str>, token: Box<str> },
}

/// A change whose request has been logged. Exactly one more event reports its result.
pub(crate) struct Asked<'a> {
    who: &'a Who,
    action: &'static str,
    key: String,
    is_reported: bool,
}

impl Who {
    /// The user of this process, by number and, if known, by name. It is not read from the environment, which anyone can set.
    pub(crate) fn of_process() -> Self {
        Self::User(user().unwrap_or_else(|| "unknown".into()))
    }

    /// The digest of the token that was used.
    fn token(&self) -> Option<&str> {
        match self {
            Self::User(_) => None,
            Self::Subject { token, .. } => Some(token),
        }
    }
}

impl<'a> Asked<'a> {
    /// `key` is the digest or another description of what is changed, never the key itself.
    pub(crate) fn log(who: &'a Who, action: &'static str, key: impl fmt::Display) -> Self {
        let key = key.to_string();
        tracing::info!(target: "audit", action, key, by = %who, token = who.token(), "asked for");
        Self {
            who,
            action,
            key,
            is_reported: false,
        }
    }

    pub(crate) fn done(mut self, result: impl fmt::Display) {
        self.is_reported = true;
        let Self {
            who, action, key, ..
        } = &self;
        tracing::info!(target: "audit", action, key, by = %who, token = who.token(), %result, "done");
    }

    pub(crate) fn not_done(mut self, result: impl fmt::Display) {
        self.report_not_done(result);
    }

    fn report_not_done(&mut self, result: impl fmt::Display) {
        self.is_reported = true;
        let Self {
            who, action, key, ..
        } = &self;
        tracing::warn!(target: "audit", action, key, by = %who, token = who.token(), %result, "not done");
    }
}

/// A panic, a signal or the end of the service has dropped the change.
impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_reported {
            self.report_not_done("unknown: it was interrupted, and may have been made");
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(formatter, "user {}", Printable(name)),
            Self::Subject { name, .. } => write!(formatter, "subject {}", Printable(name)),
        }
    }
}

#[cfg(target_os = "linux")]
fn user() -> Option<String> {
    use std::{fs, os::unix::fs::MetadataExt};

    let number = fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, uid) = (fields.next()?, fields.next()?, fields.next()?);
        (uid == number).then(|| name.to_owned())
    });
    Some(match name {
        Some(name) => format!("{name} ({number})"),
        None => number,
    })
}

#[cfg(not(target_os = "linux"))]
fn user() -> Option<String> {
    std::env::var("USER").ok()
}
