//! Inputs as files, each of which may be given back with `FUZZ_INPUT`.

use std::{
    fs::{self, File},
    io::{Seek, Write},
    path::{Path, PathBuf},
};

/// An input that fails.
pub(crate) fn keep(target: &str, seed: u64, input: &[u8]) -> PathBuf {
    let path = folder(target).join(format!("failed-{seed}"));
    fs::write(&path, input).expect("a file");
    path
}

/// The input that is being checked, for a check that ends the whole program.
pub(crate) struct UnderWay {
    path: PathBuf,
    file: File,
}

impl UnderWay {
    pub(crate) fn new(target: &str, seed: u64) -> Self {
        let path = folder(target).join(format!("under-way-{seed}"));
        let file = File::create(&path).expect("a file");
        Self { path, file }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, input: &[u8]) {
        let length = u64::try_from(input.len()).expect("64 bits");
        let file = &mut self.file;
        let written = file.rewind().and_then(|()| file.write_all(input));
        let written = written.and_then(|()| file.set_len(length));
        written.expect("a file that can be written");
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// In the build's folder for the files of tests.
fn folder(target: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    let folder = folder.join(target);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}
