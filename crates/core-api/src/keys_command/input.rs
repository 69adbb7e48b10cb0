//! Operators' input from standard input.

use std::io::{BufRead, stdin};

use idempotency::log_text::Causes;
use serde::Deserialize;

use crate::{config::IdArgument, keys::KeyId};

/// A key to change.
pub(super) struct Named {
    pub(super) id: KeyId,
    /// The version that the operator has seen.
    pub(super) version: Option<String>,
}

/// A line of `list --json`.
#[derive(Deserialize)]
struct Line {
    id: String,
    version: Option<String>,
}

/// The first line, without its end.
pub(super) fn line() -> Result<String, String> {
    let mut line = String::new();
    let read = stdin().lock().read_line(&mut line);
    read.map_err(|error| format!("standard input: {}", Causes(&error)))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The keys that the arguments name. All are read before the first is changed.
pub(super) fn named(arguments: &[IdArgument]) -> Result<Vec<Named>, String> {
    let mut all = Vec::new();
    for argument in arguments {
        match argument {
            IdArgument::One(id) => all.push(Named {
                id: id.clone(),
                version: None,
            }),
            IdArgument::StandardInput => {
                let before = all.len();
                read(stdin().lock(), &mut all)?;
                // The command that should have written the list may have failed.
                if all.len() == before {
                    return Err("standard input: there is no id".into());
                }
            }
        }
    }
    Ok(all)
}

fn read(input: impl BufRead, all: &mut Vec<Named>) -> Result<(), String> {
    for (number, line) in (1..).zip(input.lines()) {
        let line = line.map_err(|error| format!("standard input: {}", Causes(&error)))?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        // The error does not repeat the line, which may be a key in the wrong place.
        let wrong = |why: String| format!("standard input, line {number}: {why}");
        let line = if line.starts_with('{') {
            serde_json::from_str(line).map_err(|_| wrong("expected an id and a version".into()))?
        } else {
            Line {
                id: line.to_owned(),
                version: None,
            }
        };
        all.push(Named {
            id: line.id.parse().map_err(wrong)?,
            version: line.version,
        });
    }
    Ok(())
}
