//! A copy of the workspace, in which faults are made.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{fault::Fault, program::Program};

/// The library's source, from the workspace's folder.
pub(crate) const SOURCE: &str = "crates/idempotency/src";

/// The copy, with a target folder of its own that stays for the next time: packages of two copies have the same names in one.
pub(crate) struct Copied {
    root: PathBuf,
    tree: PathBuf,
    target: PathBuf,
}

impl Copied {
    /// Copies the files that git knows, as they are now.
    pub(crate) fn new() -> io::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
        let copied = Self {
            root: root().canonicalize()?,
            tree: folder.join("tree"),
            target: folder.join("target"),
        };
        if copied.tree.exists() {
            fs::remove_dir_all(&copied.tree)?;
        }
        let mut git = Command::new("git");
        git.args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]);
        let listed = git.current_dir(&copied.root).output()?;
        if !listed.status.success() {
            return Err(io::Error::other("git does not list the workspace's files"));
        }
        let paths = String::from_utf8(listed.stdout).map_err(io::Error::other)?;
        for path in paths.split_terminator('\0') {
            // Those of a folder that is a link, and those that were removed, are not there.
            if copied.root.join(path).is_file() {
                copied.copy(Path::new(path))?;
            }
        }
        Ok(copied)
    }

    /// Builds one of the test programs as it is.
    pub(crate) fn build(&self, program: &'static str) -> io::Result<Program> {
        Program::build(program, &self.tree, &self.target)
    }

    /// Builds it with the fault.
    pub(crate) fn build_with(&self, fault: &Fault, program: &'static str) -> io::Result<Program> {
        let path = Path::new(SOURCE).join(fault.file);
        let source = fs::read_to_string(self.root.join(&path))?;
        let mutated = source.replacen(fault.find, fault.replace, 1);
        assert_ne!(source, mutated, "the fault has no place");
        fs::write(self.tree.join(&path), mutated)?;
        let built = self.build(program);
        fs::write(self.tree.join(&path), source)?;
        built
    }

    fn copy(&self, path: &Path) -> io::Result<()> {
        let to = self.tree.join(path);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(self.root.join(path), to).map(drop)
    }
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
