//! The file of the tokens.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
};

use super::Failure;

/// Room for some 30 000 tokens. Each request compares all of them.
const MAX_LENGTH: usize = 4 << 20;

/// Reads the whole file. A pipe is refused before it is opened: it could be read only once, and opening it waits for a writer.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    if !fs::metadata(path)?.is_file() {
        return Err("it is not a file".into());
    }
    read_all(&File::open(path)?)
}

/// The rest of this file.
pub(super) fn read_all(file: &File) -> Result<String, Failure> {
    let mut text = Vec::new();
    file.take(MAX_LENGTH as u64 + 1).read_to_end(&mut text)?;
    check_length(text.len())?;
    String::from_utf8(text).map_err(|_| "it is not UTF-8".into())
}

/// Fails if a file of this length is too long to read.
pub(super) fn check_length(length: usize) -> Result<(), Failure> {
    if length > MAX_LENGTH {
        return Err(format!("it has more than {MAX_LENGTH} bytes").into());
    }
    Ok(())
}

/// Warns if every user of the machine could add a token.
#[cfg(unix)]
pub(super) fn warn_of_other_writers(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    let mode = fs::metadata(path).map(|found| found.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o002 != 0) {
        let path = path.display();
        tracing::warn!(%path, "every user of this machine can write the token file");
    }
}

#[cfg(not(unix))]
pub(super) fn warn_of_other_writers(_: &Path) {}
