//! Notes which runs begin and end, and what else is done, in order, across all services.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

/// A file that all services append to.
#[derive(Clone, Debug)]
pub(crate) struct Runs(Arc<File>);

/// A run that has begun, and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Run {
    runs: Runs,
    key: String,
}

impl Runs {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self(Arc::new(file)))
    }

    pub(crate) fn begin(&self, key: &str) -> Run {
        self.note("begin", key);
        Run {
            runs: self.clone(),
            key: key.to_owned(),
        }
    }

    /// One write for each line, so that none is in the middle of another.
    pub(crate) fn note(&self, what: &str, key: &str) {
        let noted = (&*self.0).write_all(format!("{what} {key}\n").as_bytes());
        noted.expect("a line of the runs");
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.runs.note("end", &self.key);
    }
}
