//! What comes from files: dialects, targets and reports.

use std::{fs, path::Path};

use serde::de::DeserializeOwned;

/// One that is part of the program: its name, and its text.
pub(crate) type BuiltIn = (&'static str, &'static str);

/// The built-in text of this name, or else the file at this path.
pub(crate) fn load<T: DeserializeOwned>(built_in: &[BuiltIn], name: &str) -> Result<T, String> {
    let found = built_in.iter().find(|(known, _)| *known == name);
    let text = match found {
        Some((_, text)) => (*text).to_owned(),
        None => read(Path::new(name)).map_err(|error| {
            let names: Vec<_> = built_in.iter().map(|(name, _)| *name).collect();
            format!("{error}; built in are {}", names.join(", "))
        })?,
    };
    toml::from_str(&text).map_err(|error| format!("{name}: {error}"))
}

/// The text of this file.
pub(crate) fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}
