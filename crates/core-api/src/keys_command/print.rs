//! Prints to standard output.

use std::io::{Write, stdout};

use idempotency::log_text::{Causes, Printable};
use serde_json::json;

use crate::keys::{Shown, ShownResponse, Summary, View};

/// A list, as a table or as one JSON object per line.
pub(super) struct Table {
    is_json: bool,
    is_empty: bool,
}

/// How many digits of an id a table shows, like log lines.
const DIGITS: usize = 16;

impl Table {
    pub(super) const fn new(is_json: bool) -> Self {
        Self {
            is_json,
            is_empty: true,
        }
    }

    pub(super) fn line(&mut self, view: &View) -> Result<(), String> {
        if self.is_json {
            return line(&as_json(view));
        }
        if self.is_empty {
            self.is_empty = false;
            line(&head())?;
        }
        line(&match view {
            View::Readable(key) => row_of(key),
            View::Unreadable { id, error } => {
                format!("{}  cannot be read: {}", start(id), Printable(error))
            }
        })
    }

    pub(super) fn end(self) -> Result<(), String> {
        if self.is_empty && !self.is_json {
            crate::logging::say("no keys");
        }
        Ok(())
    }
}

/// Changes, as a table or as one JSON object per line.
pub(super) struct Changes {
    is_json: bool,
    is_empty: bool,
}

impl Changes {
    pub(super) const fn new(is_json: bool) -> Self {
        Self {
            is_json,
            is_empty: true,
        }
    }

    pub(super) fn line(
        &mut self,
        event: &str,
        key: &Summary,
        change: &impl serde::Serialize,
    ) -> Result<(), String> {
        if self.is_json {
            return line(&as_json(change));
        }
        if self.is_empty {
            self.is_empty = false;
            line(&format!("{:<10}  {}", "EVENT", head()))?;
        }
        line(&format!("{event:<10}  {}", row_of(key)))
    }
}

/// One key, with a line for each member.
pub(super) fn shown(shown: &Shown, is_json: bool) -> Result<(), String> {
    if is_json {
        return line(&as_json(shown));
    }
    let key = &shown.summary;
    let times = [
        ("created", &key.created_at),
        ("lease until", &key.lease_until),
        ("completed", &key.completed_at),
    ];
    line(&format!("id           {}", Printable(&key.id)))?;
    line(&format!("version      {}", Printable(&key.version)))?;
    line(&format!("phase        {}", Printable(&key.phase)))?;
    line(&format!("attempt      {}", key.attempt))?;
    for (name, time) in times {
        if let Some(time) = time {
            line(&format!("{name:<12} {}", Printable(time)))?;
        }
    }
    line(&format!("expires      {}", Printable(&key.expires_at)))?;
    let steps = key
        .steps
        .map_or("cannot be read".into(), |steps| steps.to_string());
    line(&format!("steps        {steps}"))?;
    line(&format!("route        {}", printable(key.route.as_deref())))?;
    line(&format!("label        {}", printable(key.label.as_deref())))?;
    match &shown.response {
        None => Ok(()),
        Some(ShownResponse::Value { .. }) => line("response     rebuilt from a value"),
        Some(ShownResponse::NotStored) => line("response     not stored"),
        Some(ShownResponse::Erased) => line("response     erased"),
        Some(ShownResponse::Kept {
            status, headers, ..
        }) => {
            line(&format!("response     {status}"))?;
            line(&format!("headers      {}", Printable(&headers.join(", "))))
        }
    }
}

/// Writes the bytes unchanged.
pub(super) fn body(body: &[u8]) -> Result<(), String> {
    let mut output = stdout().lock();
    let written = output
        .write_all(b"\n")
        .and_then(|()| output.write_all(body));
    written
        .and_then(|()| output.flush())
        .map_err(|error| unwritten(&error))
}

pub(super) fn count(name: &str, count: usize, is_json: bool) -> Result<(), String> {
    line(&if is_json {
        json!({name: count}).to_string()
    } else {
        format!("{count} {name}")
    })
}

/// Flushed at once, so that a change that was made is visible even if the next one hangs.
pub(super) fn line(text: &str) -> Result<(), String> {
    let mut output = stdout().lock();
    let written = writeln!(output, "{text}").and_then(|()| output.flush());
    written.map_err(|error| unwritten(&error))
}

fn unwritten(error: &std::io::Error) -> String {
    format!("standard output: {}", Causes(error))
}

fn as_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("strings and numbers can be written")
}

fn head() -> String {
    row(
        "ID",
        "PHASE",
        "ATTEMPT",
        "AGE",
        "LEASE/EXPIRY",
        "ROUTE",
        "LABEL",
    )
}

fn row_of(key: &Summary) -> String {
    row(
        &start(&key.id),
        &printable(Some(&key.phase)),
        &key.attempt.to_string(),
        &age(key),
        &printable(Some(key.lease_until.as_ref().unwrap_or(&key.expires_at))),
        &printable(key.route.as_deref()),
        &printable(key.label.as_deref()),
    )
}

fn row(
    id: &str,
    phase: &str,
    attempt: &str,
    age: &str,
    until: &str,
    route: &str,
    label: &str,
) -> String {
    format!("{id:<DIGITS$}  {phase:<9}  {attempt:<7}  {age:<6}  {until:<20}  {route:<24}  {label}")
        .trim_end()
        .to_owned()
}

fn age(key: &Summary) -> String {
    match key.age_seconds {
        None => "?".into(),
        Some(seconds @ 0..60) => format!("{seconds}s"),
        Some(seconds @ 60..3600) => format!("{}m", seconds / 60),
        Some(seconds @ 3600..86_400) => format!("{}h", seconds / 3600),
        Some(seconds) => format!("{}d", seconds / 86_400),
    }
}

/// The first digits of an id. A service can send anything.
fn start(id: &str) -> String {
    Printable(id).to_string().chars().take(DIGITS).collect()
}

fn printable(text: Option<&str>) -> String {
    text.map_or("-".into(), |text| Printable(text).to_string())
}
